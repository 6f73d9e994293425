"""The training loop: each step by hand, notes, and no trace of an interruption."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn
from torch.testing import assert_close

from stn_tutorial import training
from stn_tutorial.checkpoints import (
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    seal,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.distortions import distort
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.networks import BFloat16, Network, compact_cnn, fcn
from stn_tutorial.training import (
    Recipe,
    error_rate,
    make_optimiser,
    schedule,
    take_step,
    train,
)
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer

SHORT = Recipe(images=32 * 20, batch=32)
DIGITS = load_digits()
IMAGES, LABELS = DIGITS.train_images[:1000], DIGITS.train_labels[:1000]


def distorted(images, labels, distortion="R"):
    generator = torch.Generator().manual_seed(7)
    return distort(images, distortion, generator, F.grid_sample), labels


VALIDATION = distorted(DIGITS.train_images[1000:], DIGITS.train_labels[1000:])
WATCHED = VALIDATION[0][:3]


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, so that equal trainings have equal bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_network(seed=0):
    """A transformer and a CNN, as they are trained for the table, but small."""
    torch.manual_seed(seed)
    localisation = nn.Sequential(  # whose norm tells training from looking
        nn.BatchNorm2d(1), LocalisationNet((1, 28, 28), hidden=(8,))
    )
    transformer = SpatialTransformer(localisation, sampler=F.grid_sample)
    network = Network(compact_cnn((4, 4, 6)), transformer)
    return network.to(memory_format=torch.channels_last)


def train_small(checkpoint=None, network=None, **options):
    network = network or small_network()
    options = {
        "distortion": "R",
        "recipe": SHORT,
        "validation": VALIDATION,
        "seed": 5,
        "watched": WATCHED,
    } | options
    history = train(network, IMAGES, LABELS, checkpoint=checkpoint, **options)
    return network, history


@pytest.fixture(scope="module")
def whole():
    """A training that nothing interrupts."""
    torch.set_num_threads(1)
    return train_small()


def assert_same_network(a, b):
    """Bit for bit: weights, and the running statistics of the norms."""
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


def assert_same_history(a, b):
    """All but the seconds."""
    assert (a.images, a.loss, a.error) == (b.images, b.loss, b.error)
    assert len(a.seconds) == len(b.seconds)
    for mine, other in ((a.theta, b.theta), (a.warped, b.warped)):
        assert len(mine) == len(other)
        assert all(map(torch.equal, mine, other))


# Schedule and step


@pytest.mark.parametrize(
    ("progress", "warm_up", "share"),
    [
        (0, 0.1, 0),
        (0.025, 0.1, 0.25),
        (0.1, 0.1, 1),
        (0.4, 0.1, 0.75),  # a third of the way down: (1 + cos 60 degrees) / 2
        (0.55, 0.1, 0.5),
        (1, 0.1, 0),
        (0.5, 0, 0.5),
        (0, 0, 1),
        (0.5, 0.5, 1),
        (0.75, 0.5, 0.5),
    ],
)
def test_schedule_climbs_a_line_and_falls_half_a_cosine(progress, warm_up, share):
    assert schedule(progress, warm_up) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(
    ("progress", "warm_up"),
    [(-0.1, 0.1), (1.1, 0.1), (2, 0), (math.nan, 0.1), (1, 1), (0.5, -1), (0.5, 2)],
)
def test_there_is_no_rate_before_the_start_and_after_the_end(progress, warm_up):
    told = f"progress from 0 to 1, .* but got {progress} and {warm_up}"
    with pytest.raises(ValueError, match=told):
        schedule(progress, warm_up)


def by_hand(weights, velocity, grads, recipe, share):
    """One step of SGD with Nesterov momentum, written out: name -> tensor."""
    length = math.sqrt(sum(g.square().sum().item() for g in grads.values()))
    for name, grad in grads.items():
        grad = grad * min(1, recipe.clip / length)
        if weights[name].dim() > 1:
            grad = grad + recipe.weight_decay * weights[name]
        velocity[name] = recipe.momentum * velocity[name] + grad
        rate = recipe.rate * share
        if name.startswith("transformer.localisation"):
            rate *= recipe.localisation_rate
        weights[name] = weights[name] - rate * (grad + recipe.momentum * velocity[name])


@pytest.mark.parametrize("clip", [0.01, 1000.0])
def test_steps_are_those_by_hand(clip):
    """Two learning rates, two weight decays, momentum, clipping, smoothed labels."""
    recipe = Recipe(
        images=1,
        rate=0.5,
        localisation_rate=0.2,
        warm_up=0.4,
        momentum=0.8,
        weight_decay=0.05,
        label_smoothing=0.3,
        clip=clip,
    )
    torch.manual_seed(0)
    localisation = LocalisationNet((1, 4, 5), hidden=())
    nn.init.normal_(localisation.last.weight, std=0.1)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(20, 3))
    network = Network(classifier, SpatialTransformer(localisation)).double()
    weights = {k: v.detach().clone() for k, v in network.named_parameters()}
    velocity = {k: torch.zeros_like(v) for k, v in weights.items()}
    optimiser = make_optimiser(network, recipe)
    for progress, share in ((0.2, 0.5), (0.4, 1), (0.7, 0.5), (0.9, 0.066987298)):
        images, labels = torch.randn(6, 1, 4, 5).double(), torch.randint(3, (6,))
        leaves = {k: v.requires_grad_() for k, v in weights.items()}
        scores = torch.func.functional_call(network, leaves, images)
        wanted = 0.7 * F.one_hot(labels, 3) + 0.3 / 3
        expected = -(wanted * scores.log_softmax(1)).sum(1).mean()
        grads = torch.autograd.grad(expected, leaves.values())
        weights = {k: v.detach() for k, v in weights.items()}
        grads = dict(zip(weights, grads, strict=True))
        loss = take_step(network, optimiser, images, labels, recipe, progress)
        by_hand(weights, velocity, grads, recipe, share)
        assert_close(loss, expected.detach())
        assert not loss.requires_grad
        for name, parameter in network.named_parameters():
            assert_close(parameter.detach(), weights[name], rtol=1e-5, atol=1e-9)


def test_without_momentum_there_is_no_look_ahead():
    """PyTorch refuses Nesterov's momentum where there is none."""
    optimiser = make_optimiser(small_network(), Recipe(images=1, momentum=0))
    assert not any(group["nesterov"] for group in optimiser.param_groups)
    with_momentum = make_optimiser(small_network(), Recipe(images=1))
    assert all(group["nesterov"] for group in with_momentum.param_groups)


def scales(network, recipe):
    """The rate of each weight as a multiple of the recipe's: name -> number."""
    name_of = {id(weight): name for name, weight in network.named_parameters()}
    groups = make_optimiser(network, recipe).param_groups
    return {name_of[id(group["params"][0])]: group["scale"] for group in groups}


def test_a_localisation_net_has_its_rate_wherever_it_stands():
    """In front, and deep within the classifier, inside a module of another kind."""
    classifier = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        BFloat16(nn.Sequential(SpatialTransformer(LocalisationNet((2, 6, 6))))),
        nn.Flatten(),
        nn.Linear(72, 3),
    )
    network = Network(classifier, SpatialTransformer(LocalisationNet((1, 8, 8))))
    found = scales(network, Recipe(images=1, localisation_rate=0.25))
    assert len(found) == len(list(network.parameters())) == 16
    localising = {name for name, scale in found.items() if scale == 0.25}
    assert localising == {name for name in found if ".localisation." in name}
    assert len(localising) == 12
    assert {found[name] for name in found.keys() - localising} == {1.0}


def test_a_name_alone_gives_no_rate_of_its_own():
    """Only what a transformer localises with has one, whatever a module is called."""
    network = nn.Sequential()
    network.add_module("localisation", LocalisationNet((1, 6, 6), hidden=()))
    network.add_module("localisation_of_errors", nn.Linear(3, 3))
    assert set(scales(network, Recipe(images=1)).values()) == {1.0}
    transformer = SpatialTransformer(LocalisationNet((1, 6, 6), hidden=()))
    transformer.classifier = nn.Linear(3, 3)
    found = scales(transformer, Recipe(images=1, localisation_rate=0.25))
    assert found == {
        "localisation.last.weight": 0.25,
        "localisation.last.bias": 0.25,
        "classifier.weight": 1.0,
        "classifier.bias": 1.0,
    }


class Recorder(nn.Module):
    """Answers with a digit that it reads in the first pixel; notes its mode."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.modes, self.sizes = [], []

    def forward(self, images):
        self.modes.append(self.training)
        self.sizes.append(len(images))
        return F.one_hot(images[:, 0, 0, 0].long(), 10).float() + self.weight


@pytest.mark.parametrize("mode", [True, False])
def test_error_rate_is_the_share_of_wrong_answers(mode):
    answers = torch.arange(1203) % 10
    labels = answers.clone()
    labels[[3, 499, 500, 501, 1200, 1201, 1202]] += 1
    network = Recorder().train(mode)
    images = answers[:, None, None, None].expand(-1, 1, 4, 4).float()
    assert error_rate(network, images, labels % 10) == pytest.approx(100 * 7 / 1203)
    assert sum(network.sizes) == 1203
    assert not any(network.modes)
    assert network.training is mode
    assert error_rate(network, images, answers) == 0


class Answers(nn.Module):
    """Gives scores that are fixed, whatever the images; has no weights."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, images):
        return self.scores[: len(images)]


THREE = torch.eye(3)
NO_NUMBER = torch.where(THREE == 1, math.nan, 0.0)
FEW = torch.zeros(3, 1, 2, 2)


class Linear(nn.Module):
    """Sums of pixels, with weights of any type."""

    def __init__(self, dtype):
        super().__init__()
        weights = torch.eye(4)[:, :3].to(dtype)
        self.weights = nn.Parameter(weights, requires_grad=False)

    def forward(self, images):
        return (images.flatten(1) @ self.weights.float()).float()


PIXELS = torch.eye(4)[:3].view(3, 1, 2, 2)  # to each its class


def test_weights_are_floating_point():
    """Others are damaged: what was not whole is lost, and so is an imaginary part."""
    labels = torch.arange(3)
    assert error_rate(Linear(torch.float32), PIXELS, labels) == 0
    assert error_rate(Linear(torch.float16), PIXELS, labels) == 0
    for dtype in (torch.int32, torch.uint8, torch.bool, torch.complex64):
        with pytest.raises(ValueError, match=f"floating point .* weights is {dtype}"):
            error_rate(Linear(dtype), PIXELS, labels)


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8])
def test_images_of_a_type_that_the_network_cannot_take_are_named(dtype):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    labels = torch.arange(3)
    told = f"whose weights are torch.float32, but got {dtype}"
    with pytest.raises(ValueError, match=told):
        error_rate(network, PIXELS.to(dtype), labels)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        error_rate(network, PIXELS.repeat(1, 1, 2, 1), labels)  # its own complaint


def test_what_has_no_weights_can_be_measured():
    labels = torch.tensor([0, 2, 2])
    assert error_rate(Answers(THREE), FEW, labels) == pytest.approx(100 / 3)
    assert error_rate(Answers(THREE), FEW, labels.byte()) == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("scores", "images", "labels", "message"),
    [
        (NO_NUMBER, FEW, [0, 1, 2], "scores that are numbers, but .* gives NaN"),
        (THREE / 0, FEW, [0, 1, 2], "scores that are numbers, but .* or infinity"),
        (1 / THREE, FEW, [0, 1, 2], "scores that are numbers, but .* or infinity"),
        (THREE.int(), FEW, [0, 1, 2], "floating point type, but .* torch.int32"),
        (THREE > 0, FEW, [0, 1, 2], "floating point type, but .* torch.bool"),
        (THREE * 1j, FEW, [0, 1, 2], "floating point type, but .* torch.complex64"),
        (THREE, FEW * 1j, [0, 1, 2], "images of real numbers, but got torch.complex64"),
        (THREE, FEW / 0, [0, 1, 2], "images of finite numbers, but one holds NaN"),
        (THREE, FEW, [0, 1, 3], "from 0 to 2, as .* 3 scores .*, but got 0 to 3"),
        (THREE, FEW, [0, -1, 2], "labels from 0 to 2, as .*, but got -1 to 2"),
        (THREE, FEW, [0, 1, 2.0], "whole numbers, but got torch.float32"),
        (THREE, FEW, [False, True, True], "whole numbers, but got torch.bool"),
        (THREE[..., None, None], FEW, [0, 1, 2], r"it gives \(3, 3, 1, 1\)"),
        (THREE[:1], FEW, [0, 1, 2], r"\(N, K\), but for 3 images it gives \(1, 3\)"),
        (THREE[0], FEW, [0, 1, 2], r"\(N, K\), but for 3 images it gives \(3,\)"),
    ],
)
def test_what_cannot_be_measured_is_refused(scores, images, labels, message):
    network = Answers(scores).train()
    with pytest.raises(ValueError, match=message):
        error_rate(network, images, torch.tensor(labels))
    assert network.training


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (FEW.numpy(), torch.arange(3), "images to be a tensor, but got a ndarray"),
        (FEW, [0, 1, 2], "labels to be a tensor, but got a list"),
    ],
)
def test_arrays_and_lists_are_no_tensors(images, labels, told):
    with pytest.raises(TypeError, match=told):
        error_rate(Answers(THREE), images, labels)
    with pytest.raises(TypeError, match=told):
        train(small_network(), images, labels, "R", SHORT, VALIDATION)


@pytest.mark.parametrize("shape", [(59,), (1,), (60, 1)])
def test_error_rate_needs_one_label_for_each_image(shape):
    message = rf"got 60 images and labels of shape \({', '.join(map(str, shape))},?\)"
    with pytest.raises(ValueError, match=message):
        error_rate(Recorder(), torch.zeros(60, 1, 4, 4), torch.zeros(shape))


@pytest.mark.parametrize("count", [59, 61])
def test_training_needs_one_label_for_each_image(count):
    labels = torch.zeros(count, dtype=torch.long)
    message = rf"got 60 images and labels of shape \({count},\)"
    with pytest.raises(ValueError, match=message):
        train(nn.Flatten(), IMAGES[:60], labels, "R", Recipe(256), VALIDATION)


def test_training_needs_images_to_learn_and_to_validate():
    """And says so before the first step."""
    network, none = small_network(), (IMAGES[:0], LABELS[:0])
    network.register_forward_hook(lambda *_: pytest.fail("a step was taken"))
    for data in (none, VALIDATION), ((IMAGES, LABELS), none):
        with pytest.raises(ValueError, match="expected at least one image, .* got 0 "):
            train(network, *data[0], "R", SHORT, data[1])


def test_only_a_transformers_images_can_be_watched():
    network = Network(compact_cnn((4, 4, 6)))
    network.register_forward_hook(lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(ValueError, match="expected a network with a transformer"):
        train_small(network=network)


def test_labels_to_learn_are_the_networks():
    """Below 0 PyTorch would leave them out without a word."""
    network = small_network()
    for labels, told in (
        (LABELS + 3, "labels from 0 to 9, .* but got 3 to 12"),
        (torch.where(LABELS == 3, -100, LABELS), "but got -100 to 9"),
        (LABELS.float(), "whole numbers, but got torch.float32"),
    ):
        with pytest.raises(ValueError, match=told):
            train(network, IMAGES, labels, "R", SHORT, VALIDATION)


def test_whole_numbers_of_any_size_label():
    networks = small_network(), small_network()
    for network, labels in zip(networks, (LABELS, LABELS.int()), strict=True):
        train(network, IMAGES, labels, "R", Recipe(64, batch=32), VALIDATION)
    assert_same_network(*networks)


def test_images_to_learn_are_numbers():
    images = IMAGES.clone()
    images[500, 0, 14, 14] = math.nan
    with pytest.raises(ValueError, match="images of finite numbers, but one holds NaN"):
        train(small_network(), images, LABELS, "R", SHORT, VALIDATION)


@pytest.mark.parametrize(
    "network", [nn.Flatten(), fcn((1, 28, 28), ()).requires_grad_(False)]
)
def test_there_must_be_something_to_train(network):
    with pytest.raises(ValueError, match="a network with weights to train, but"):
        train(network, IMAGES, LABELS, "R", SHORT, VALIDATION)


def steps_after(checkpoint):
    """How many steps a training that goes on from a checkpoint still takes."""
    network, steps = small_network(), []
    network.register_forward_hook(lambda *_: steps.append(network.training))
    train_small(checkpoint, network)
    return sum(steps)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    """Before it is noted or saved: the checkpoint is that of the moment before."""
    network = small_network()

    def spoil(_, inputs):
        steps.append(network.training)
        if sum(steps) == 13:  # moments are after steps 12 and 14
            return (inputs[0] * math.nan,)
        return None

    steps = []
    network.classifier.register_forward_pre_hook(spoil)
    with pytest.raises(ValueError, match="got nan within 13 steps: .* lower rate"):
        train_small(tmp_path / "run", network)
    assert steps_after(tmp_path / "run") == 20 - 12


@pytest.mark.parametrize(
    ("value", "padding_mode", "sampler"),
    [
        (math.nan, "zeros", grid_sample),
        (math.inf, "zeros", grid_sample),
        (math.nan, "border", F.grid_sample),
        (math.inf, "border", F.grid_sample),
        (math.nan, "reflection", F.grid_sample),
    ],
)
def test_a_theta_that_is_no_number_ends_the_training(
    value, padding_mode, sampler, tmp_path
):
    """Before a sampler sees it: PyTorch's makes pixels of it, or ends the process."""
    network = small_network()
    network.transformer.padding_mode = padding_mode
    network.transformer.sampler = sampler
    steps = []

    def spoil(*_):
        steps.append(network.training)
        if sum(steps) == 13:
            with torch.no_grad():
                network.transformer.localisation[1].last.bias[2] = value

    network.register_forward_pre_hook(spoil)
    with pytest.raises(ValueError, match="expected a finite theta, .* try a lower rat"):
        train_small(tmp_path / "run", network)
    assert sum(steps) == 13
    with pytest.raises(ValueError, match="expected a finite theta"):
        error_rate(network, *VALIDATION)
    assert steps_after(tmp_path / "run") == 20 - 12


def test_a_weight_that_is_no_number_ends_the_training(tmp_path):
    """Even one that no loss depends on."""
    network = small_network()
    network.register_parameter("unused", nn.Parameter(torch.tensor([0, math.inf])))
    told = "NaN or inf in unused within 1 steps: the training diverged; try a lower ra"
    with pytest.raises(ValueError, match=told):
        train_small(tmp_path / "run", network)
    assert os.listdir(tmp_path) == []


def test_nothing_watches_a_network_after_its_training():
    network, _ = train_small(recipe=Recipe(64, batch=32))
    error_rate(network, *VALIDATION)
    with torch.no_grad():
        network.transformer.localisation[1].last.bias.fill_(math.nan)
        network(WATCHED)  # no error


# The loop


def test_moments_are_dense_at_the_start(whole):
    """Step 20 (i / 16)^2 for i from 1 to 16, rounded up, each once."""
    steps = [1, 2, 3, 4, 5, 7, 8, 10, 12, 14, 16, 18, 20]
    assert whole[1].images == [32 * step for step in steps]


def test_whole_batches_only():
    _, history = train_small(recipe=Recipe(images=99, batch=32), moments=3)
    assert history.images == [32, 64, 96]


def test_less_than_a_batch_is_refused():
    with pytest.raises(ValueError, match="at least one batch of 32 .* got 31 images"):
        train_small(recipe=Recipe(images=31, batch=32))


@pytest.mark.parametrize("count", [0, -1, 2.5, 64.0])
@pytest.mark.parametrize("name", ["images", "batch"])
def test_a_recipe_counts_in_whole_numbers(name, count):
    with pytest.raises(ValueError, match=f"whole number from 1 on, but got {name}="):
        Recipe(**{"images": 32, name: count})


OUTSIDE = {
    "rate": [-1, math.nan, math.inf],
    "localisation_rate": [-0.1, math.nan, math.inf],
    "warm_up": [-0.1, 1.0, math.nan],
    "momentum": [-0.5, 1, 2, math.nan],
    "weight_decay": [-1, math.nan, math.inf],
    "label_smoothing": [-1, 1, 1.5, math.nan],
    "clip": [0, -1, math.nan],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in OUTSIDE for value in OUTSIDE[name]]
)
def test_a_recipe_that_cannot_be_trained_is_refused(name, value):
    with pytest.raises(ValueError, match=f"expected {name} .*, but got {name}={value}"):
        Recipe(images=32, **{name: value})


def test_a_recipe_may_do_without(whole):
    """Without bounds of the gradient it is whole; without a rate nothing is learned."""
    parts = ("localisation_rate", "warm_up", "momentum", "weight_decay")
    recipe = Recipe(32, 32, 0, **dict.fromkeys(parts, 0), label_smoothing=0)
    before = small_network()
    network, _ = train_small(recipe=recipe, moments=1)
    for weights, same in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(weights, same)
    unbound, huge = (
        train_small(recipe=Recipe(64, batch=32, clip=clip))[0]
        for clip in (math.inf, 1e30)
    )
    assert_same_network(unbound, huge)


def test_numbers_may_be_numpys(whole, tmp_path):
    recipe = Recipe(np.int64(640), np.int32(32), np.float64(0.1), clip=np.float32(1))
    assert recipe == SHORT
    network, history = train_small(tmp_path / "run", recipe=recipe, seed=np.int64(5))
    assert_same_network(network, whole[0])
    assert_same_history(history, whole[1])
    with safe_open(tmp_path / "run", "pt") as file:
        config = json.loads(file.metadata()["config"])
    assert config == {"distortion": "R", "recipe": asdict(SHORT), "seed": 5}


@pytest.mark.parametrize("seed", [2**43, -(2**43), 2**70])
def test_a_seed_beyond_the_generators_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed of 43 bits at most, but got {seed}"):
        train_small(seed=seed)


@pytest.mark.parametrize("seed", [2**43 - 1, 1 - 2**43])
def test_the_largest_seeds_train(seed):
    _, history = train_small(seed=seed, recipe=Recipe(images=64, batch=32))
    assert history.images == [32, 64]


@pytest.mark.parametrize("moments", [0, -3])
def test_there_must_be_a_moment(moments, tmp_path):
    """Else there were no notes, no checkpoint, and no look at the loss."""
    with pytest.raises(
        ValueError, match=f"moments to be at least 1, but got {moments}"
    ):
        train_small(tmp_path / "run", moments=moments)


def test_notes_are_true(whole, monkeypatch):
    """Mean loss since the last note; error and warps as the network stands there."""
    losses, steps = [], []

    def spy(network, optimiser, images, labels, recipe, progress):
        assert network.training
        loss = take_step(network, optimiser, images, labels, recipe, progress)
        losses.append(loss.item())
        steps.append(progress)
        return loss

    monkeypatch.setattr(training, "take_step", spy)
    network, history = train_small(network=small_network().eval())
    assert network.training
    assert steps == [pytest.approx((k + 1) / 20) for k in range(20)]
    ends = [n // 32 for n in history.images]
    for start, end, loss in zip([0, *ends], ends, history.loss, strict=False):
        assert loss == pytest.approx(sum(losses[start:end]) / (end - start))
    assert history.error[-1] == error_rate(network, *VALIDATION)
    warped, theta = network.eval().straighten(WATCHED)
    assert torch.equal(history.warped[-1], warped)
    assert torch.equal(history.theta[-1], theta)
    assert not torch.equal(history.theta[0], theta)
    assert len(history.warped) == len(history.theta) == len(history.images)
    assert_same_history(history, whole[1])


def test_the_clock_is_that_of_the_thread():
    """Two trainings at a time: each counts its own work, which is one thread's."""
    begun = time.process_time()
    networks = small_network(), small_network()
    with ThreadPoolExecutor(2) as workers:
        pair = list(workers.map(partial(train_small, None), networks))
    spent = time.process_time() - begun
    seconds = [history.seconds[-1] for _, history in pair]
    assert sum(seconds) < spent
    assert max(seconds) < 0.8 * spent  # of process_time each would count both


def test_seconds_are_those_of_the_steps(monkeypatch):
    """A clock that takes 1 for a step, and 100 for anything between the steps."""
    now = 1000.0

    def takes(seconds, function):
        def slow(*args):
            nonlocal now
            now += seconds
            return function(*args)

        return slow

    monkeypatch.setattr(training, "thread_time", lambda: now)
    monkeypatch.setattr(training, "take_step", takes(1, take_step))
    monkeypatch.setattr(training, "error_rate", takes(100, error_rate))
    _, history = train_small()
    assert history.seconds == [n / 32 for n in history.images]


def test_the_seed_decides_everything(whole):
    network, history = train_small()
    assert_same_network(network, whole[0])
    assert_same_history(history, whole[1])
    other, _ = train_small(seed=6)
    assert not torch.equal(other.classifier[0].weight, network.classifier[0].weight)


def test_trainings_in_two_threads_are_as_if_alone(whole, capsys):
    """And their bars share a line: most notebooks cannot move up to another."""
    networks = small_network(), small_network()
    with ThreadPoolExecutor(2) as workers:
        pair = list(workers.map(partial(train_small, None), networks))
    for network, history in pair:
        assert_same_network(network, whole[0])
        assert_same_history(history, whole[1])
    bars = capsys.readouterr().err
    assert bars.count("\r  0%|") == 2
    assert not set(bars) & {"\n", "\x1b"}


def test_looking_changes_nothing(whole):
    network, history = train_small(watched=None, moments=1)
    assert history.theta == history.warped == []
    assert history.images == [SHORT.images]
    assert_same_network(network, whole[0])


def test_every_step_sees_other_images(monkeypatch):
    """Drawn from the whole set, distorted anew, each with its own label."""

    def as_bytes(images):
        """Each image as bytes, by which it is known again."""
        return [bytes(row.tolist()) for row in (255 * images).round().byte().flatten(1)]

    label_of = dict(zip(as_bytes(IMAGES), LABELS.tolist(), strict=True))
    seen, batches = [], []

    def untouched(images, distortion, generator, sampler):
        seen.extend(as_bytes(images))
        batches.append(distort(images, distortion, generator, sampler))
        return batches[-1]

    def check(network, optimiser, images, labels, recipe, progress):
        assert images is batches[-1]
        assert [label_of[image] for image in seen[-32:]] == labels.tolist()
        return torch.tensor(0.0)

    monkeypatch.setattr(training, "distort", untouched)
    monkeypatch.setattr(training, "take_step", check)
    train_small(moments=1)
    assert len(seen) == SHORT.images
    assert 400 < len(set(seen)) < 560  # 473 expected of 1,000, +-11, drawn 640 times
    assert not torch.equal(batches[0], batches[1])
    drawn_twice = next(image for image in seen if seen.count(image) > 1)
    first = seen.index(drawn_twice)
    second = seen.index(drawn_twice, first + 1)
    distorted_images = torch.cat(batches)
    assert not torch.equal(distorted_images[first], distorted_images[second])


def test_training_learns():
    """An FCN on turned digits: from chance, 90%, to under 15% in 100 steps."""
    torch.manual_seed(0)
    network = fcn((1, 28, 28), (64, 64))
    recipe = Recipe(images=128 * 100)
    history = train(network, IMAGES, LABELS, "R", recipe, VALIDATION)
    assert history.loss[0] > 2.2
    assert history.loss[-1] < 0.6
    assert history.error[-1] < 15  # 4 to 7.5 over five seeds


# Interruption


def train_and_die(checkpoint):
    """In a process of its own: killed without warning in the middle of step 12."""
    torch.set_num_threads(1)
    network = small_network()
    calls = []

    def count(*_):
        calls.append(network.training)
        if sum(calls) == 12:
            os.kill(os.getpid(), signal.SIGKILL)

    network.register_forward_hook(count)
    train_small(checkpoint, network)


def test_killed_and_resumed_is_as_if_never_killed(whole, tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    program = "import sys, test_training as t; t.train_and_die(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, checkpoint],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert os.listdir(tmp_path) == ["run.safetensors"]
    network, steps = small_network(seed=1), []  # its weights come from the checkpoint
    network.register_forward_hook(lambda *_: steps.append(network.training))
    _, history = train_small(checkpoint, network)
    assert sum(steps) == 20 - 10  # the last moment before step 12 was step 10
    assert_same_network(network, whole[0])
    assert_same_history(history, whole[1])


def test_seconds_go_on_after_an_interruption(monkeypatch, tmp_path):
    def interrupted(network, optimiser, images, labels, recipe, progress):
        if progress > 0.5:
            raise KeyboardInterrupt
        return take_step(network, optimiser, images, labels, recipe, progress)

    now = 0.0

    def clock():
        nonlocal now
        now += 1
        return now

    monkeypatch.setattr(training, "thread_time", clock)
    _, uninterrupted = train_small()
    now = 0.0
    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_small(tmp_path / "run")
    now = 5000.0
    _, history = train_small(tmp_path / "run")
    assert history.seconds == uninterrupted.seconds


def test_a_finished_training_is_not_continued(whole, tmp_path):
    trained, history = train_small(tmp_path / "run")
    assert_same_network(trained, whole[0])
    network, again = train_small(tmp_path / "run", small_network(seed=1))
    assert_same_network(network, trained)
    assert_same_history(again, history)
    assert again.seconds == history.seconds


@pytest.fixture
def half_way(monkeypatch, tmp_path):
    """The checkpoint of a training that was stopped half way."""

    def interrupted(network, optimiser, images, labels, recipe, progress):
        if progress > 0.5:
            raise KeyboardInterrupt
        return take_step(network, optimiser, images, labels, recipe, progress)

    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_small(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": Recipe(images=32 * 20, batch=32, rate=0.05)},
        {"recipe": Recipe(images=32 * 21, batch=32)},
        {"seed": 6},
    ],
    ids=["rate", "images", "seed"],
)
def test_the_checkpoint_of_another_training_is_refused(change, half_way):
    before = half_way.read_bytes()
    with pytest.raises(ValueError, match=f"expected in {half_way} the checkpoint of"):
        train_small(half_way, **change)
    assert half_way.read_bytes() == before


SPOILT = {
    "no moment": lambda notes: dict.fromkeys(notes, []),
    "lists of unequal lengths": lambda notes: notes | {"loss": notes["loss"][1:]},
    "warps without theta": lambda notes: notes | {"theta": []},
    "no errors": lambda notes: {k: v for k, v in notes.items() if k != "error"},
    "an unknown list": lambda notes: notes | {"accuracy": notes["error"]},
    "half a batch": lambda notes: notes | {"images": [n + 1 for n in notes["images"]]},
    "past the end": lambda notes: notes | {"images": [9 * n for n in notes["images"]]},
    "backwards": lambda notes: notes | {"images": notes["images"][::-1]},
    "twice": lambda notes: notes | {"images": notes["images"][:1] * len(notes["loss"])},
    "nothing": lambda notes: notes | {"seconds": None},
    "texts": lambda notes: notes | {"seconds": [str(n) for n in notes["seconds"]]},
    "fractions": lambda notes: notes | {"images": [n + 0.5 for n in notes["images"]]},
    "no numbers": lambda notes: notes | {"loss": [math.nan for _ in notes["loss"]]},
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_notes_that_are_none_are_refused(spoil, half_way):
    network = small_network()
    optimiser = make_optimiser(network, SHORT)
    config = {"distortion": "R", "recipe": asdict(SHORT), "seed": 5}
    notes = load_checkpoint(half_way, network, optimiser, config)
    save_checkpoint(half_way, network, optimiser, config, spoil(notes))
    with pytest.raises(ValueError, match=f"expected {half_way} to hold the notes of"):
        train_small(half_way)


@pytest.mark.parametrize("images", [3, None, "32", {"32": 32}, [[32]], [True], [32.0]])
def test_a_history_of_another_form_is_refused(images, half_way):
    """As only another program would write it."""
    tensors, metadata = read_tensors(half_way)
    notes = json.loads(metadata["history"])
    assert notes["images"][0] == 32
    notes |= {"images": images, "seconds": [1.0], "loss": [2.0], "error": [90.0]}
    tensors = {k: v for k, v in tensors.items() if k.partition(".")[0] != "theta"}
    tensors = {k: v for k, v in tensors.items() if k.partition(".")[0] != "warped"}
    notes |= {"theta": [], "warped": []}
    half_way.write_bytes(seal(tensors, metadata | {"history": json.dumps(notes)}))
    with pytest.raises(ValueError, match=f"expected {half_way} to hold the notes of"):
        train_small(half_way)
    notes |= {"images": [32]}  # the form is all that was wrong
    half_way.write_bytes(seal(tensors, metadata | {"history": json.dumps(notes)}))
    train_small(half_way)


class Tied(nn.Module):
    """Two layers with the same weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(28, 28, bias=False)
        self.second = nn.Linear(28, 28, bias=False)
        self.second.weight = self.first.weight
        self.scores = nn.Linear(28, 10)

    def forward(self, images):
        rows = self.second(self.first(images.mean(dim=(1, 2))).relu()).relu()
        return self.scores(rows)


def test_tied_weights_stay_tied_after_an_interruption(monkeypatch, tmp_path):
    def interrupted(*args):
        if args[-1] > 0.5:
            raise KeyboardInterrupt
        return take_step(*args)

    never, _ = train_small(None, Tied(), watched=None)
    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_small(tmp_path / "run", Tied(), watched=None)
    resumed, _ = train_small(tmp_path / "run", Tied(), watched=None)
    assert_same_network(resumed, never)
    assert resumed.first.weight is resumed.second.weight


def turned(images, generator):
    return distort(images, "R", generator, F.grid_sample)


def test_a_function_distorts_as_a_name_does(whole):
    network, history = train_small(distortion=turned)
    assert history.error == whole[1].error
    for ours, theirs in zip(network.parameters(), whole[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_function_without_a_name_distorts_too(whole):
    _, history = train_small(distortion=partial(turned))
    assert history.error == whole[1].error


def test_the_checkpoint_of_another_distortion_is_refused(half_way):
    with pytest.raises(ValueError, match="'distortion': 'P'.* but found .*: 'R'"):
        train_small(half_way, distortion="P")
    with pytest.raises(ValueError, match="'distortion': 'turned'.* but found .*: 'R'"):
        train_small(half_way, distortion=turned)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_and_resumes(whole, half_way):
    """From where the CPU stopped; the sums differ in their last digits."""
    network, history = train_small(half_way, small_network().cuda())
    assert next(network.parameters()).is_cuda
    assert not history.warped[-1].is_cuda
    assert history.loss[-1] == pytest.approx(whole[1].loss[-1], rel=0.05)
