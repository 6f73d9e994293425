"""The table's networks: their sizes and shapes, how they start, what they can learn."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from stn_tutorial.affine import affine_grid
from stn_tutorial.distortions import SIDES
from stn_tutorial.networks import (
    TABLE_MODELS,
    BFloat16,
    Network,
    cnn,
    compact_cnn,
    fcn,
    multiplies_bfloat16,
    table_network,
)
from stn_tutorial.transformer import SpatialTransformer
from stn_tutorial.warps import projective_grid, thin_plate_spline_grid

KINDS = ("fcn", "cnn", "cnn-compact")
CPUINFO = Path("/proc/cpuinfo")
GRIDS = {
    "affine": affine_grid,
    "projective": projective_grid,
    "tps": thin_plate_spline_grid,
}
TRANSFORMERS = [f"st-{kind}-{transform}" for kind in KINDS for transform in GRIDS]
every_distortion = pytest.mark.parametrize("distortion", SIDES)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def images_for(distortion, n=3):
    """Blobs within a black margin of 8 pixels."""
    side = SIDES[distortion]
    images = torch.zeros(n, 1, side, side)
    generator = torch.Generator().manual_seed(0)
    images[..., 8:-8, 8:-8] = torch.rand(
        n, 1, side - 16, side - 16, generator=generator
    )
    return images


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def last_layer(network):
    """The layer that gives theta."""
    return network.transformer.localisation[1].last


def test_models_are_the_tables():
    assert sorted(TABLE_MODELS) == sorted([*KINDS, *TRANSFORMERS])


@every_distortion
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_few_and_fairly_shared(kind, distortion):
    counts = [count(table_network(kind, distortion))]
    counts += [count(table_network(f"st-{kind}-{t}", distortion)) for t in GRIDS]
    assert max(counts) <= 400_000
    assert min(counts) >= 0.9 * max(counts)
    if kind != "cnn-compact":
        assert min(counts) >= 330_000


def test_weights_by_hand():
    norm = 2  # a batch norm has a scale and a shift
    assert (
        count(table_network("fcn", "R")) == (784 + norm + 320 + norm) * 320 + 321 * 10
    )
    assert count(table_network("cnn", "R")) == (
        (81 + norm) * 32 + (49 * 32 + norm) * 224 + (224 * 2 * 2 + 1) * 10
    )
    localisation = (14 * 14 + 1) * 128 + 129 * 64 + 65 * 6
    classifier = (784 + norm + 300 + norm) * 300 + 301 * 10
    assert count(table_network("st-fcn-affine", "R")) == localisation + classifier


@every_distortion
@pytest.mark.parametrize("model", TABLE_MODELS)
def test_ten_scores_for_each_image(model, distortion):
    scores = table_network(model, distortion)(images_for(distortion))
    assert scores.shape == (3, 10)
    assert scores.dtype == torch.float32
    assert scores.std(dim=0).min() > 0


def sizes(network, images):
    """(kind of layer, output size) for each convolution, pooling and linear layer."""
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.Linear)
    seen = []

    def note(module, args, output):
        seen.append((type(module).__name__, *output.shape[1:]))

    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(note)
    network(images)
    return seen


@pytest.mark.parametrize(
    ("distortion", "after_9x9", "pooled", "after_7x7", "pooled_again"),
    [("R", 20, 10, 4, 2), ("RTS", 34, 17, 11, 5), ("TC", 52, 26, 20, 10)],
)
def test_cnn_has_the_papers_shapes(
    distortion, after_9x9, pooled, after_7x7, pooled_again
):
    network = table_network("cnn", distortion)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size for m in convolutions] == [(9, 9), (7, 7)]
    a, b = (m.out_channels for m in convolutions)
    assert sizes(network, images_for(distortion)) == [
        ("Conv2d", a, after_9x9, after_9x9),
        ("MaxPool2d", a, pooled, pooled),
        ("Conv2d", b, after_7x7, after_7x7),
        ("MaxPool2d", b, pooled_again, pooled_again),
        ("Linear", 10),
    ]


@every_distortion
def test_st_cnn_has_the_papers_shapes(distortion):
    """Half the image, two 5x5 convolutions of 20 filters, 20 units; then the CNN."""
    network = table_network("st-cnn-affine", distortion)
    seen = sizes(network, images_for(distortion))
    half = SIDES[distortion] // 2
    assert seen[:6] == [
        ("Conv2d", 20, half, half),
        ("MaxPool2d", 20, half // 2, half // 2),
        ("Conv2d", 20, half // 2, half // 2),
        ("MaxPool2d", 20, half // 4, half // 4),
        ("Linear", 20),
        ("Linear", 6),
    ]
    kernels = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert sorted(kernels) == [(5, 5), (5, 5), (7, 7), (9, 9)]
    assert [size[2:] for size in seen[6:]] == [(20, 20), (10, 10), (4, 4), (2, 2), ()]


@every_distortion
def test_fcn_has_two_hidden_layers(distortion):
    network = table_network("fcn", distortion)
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    units = linear[0].out_features
    assert [(m.in_features, m.out_features) for m in linear] == [
        (SIDES[distortion] ** 2, units),
        (units, units),
        (units, 10),
    ]


@pytest.mark.parametrize(
    "network", [fcn((1, 28, 28), (9, 8)), cnn((1, 28, 28), (3, 4)), compact_cnn((3, 4))]
)
def test_every_hidden_layer_is_normalised_and_rectified(network):
    layers = list(network)[:-1]
    hidden = [i for i, m in enumerate(layers) if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(hidden) == 2
    for i in hidden:
        assert layers[i].bias is None  # the norm's shift stands for it
        assert isinstance(layers[i + 1], nn.BatchNorm1d | nn.BatchNorm2d)
        assert isinstance(layers[i + 2], nn.ReLU)


def test_global_pooling_forgets_the_place():
    """Moved by 4 pixels, what two 2x2 poolings keep apart: the same scores."""
    images = torch.zeros(5, 1, 60, 60)
    images[..., 20:40, 20:40] = torch.rand(5, 1, 20, 20)
    moved = images.roll((4, -8), (2, 3))
    compact = compact_cnn((4, 5, 6, 7, 8)).eval()
    assert_close(compact(moved), compact(images), atol=1e-5, rtol=0)
    assert (compact(images)[0] - compact(images)[1]).abs().max() > 1e-3
    plain = cnn((1, 60, 60), (4, 5)).eval()
    assert (plain(moved) - plain(images)).abs().max() > 1e-3


@every_distortion
@pytest.mark.parametrize("model", TRANSFORMERS)
def test_transformer_starts_as_a_window_in_the_middle(model, distortion):
    """The classifier sees 28x28 pixels: on R, P and E the whole image."""
    network = table_network(model, distortion).eval()
    images = images_for(distortion)
    seen, theta = network.straighten(images)
    expected = images
    if distortion in ("RTS", "TC"):
        side = images.shape[-1]
        fine = F.interpolate(images, (2 * side, 2 * side), mode="bilinear")
        edge = (side - 28) // 2
        middle = slice(edge, edge + 28)
        expected = F.avg_pool2d(fine, 2)[..., middle, middle]
    assert_close(seen, expected, atol=1e-4, rtol=0)
    assert torch.equal(theta[0], theta[1])
    assert_close(network(images), network.classifier(seen))


@every_distortion
@pytest.mark.parametrize("transform", GRIDS)
@pytest.mark.parametrize("kind", KINDS)
def test_transform_is_the_one_in_the_name(kind, transform, distortion):
    network = table_network(f"st-{kind}-{transform}", distortion)
    images = images_for(distortion)
    bias = last_layer(network).bias
    with torch.no_grad():
        bias += 0.05 * torch.randn_like(bias)
    seen, theta = network.eval().straighten(images)
    assert_close(theta.flatten(1), bias.expand(3, -1))
    side = 56 if distortion in ("RTS", "TC") else 28
    grid = GRIDS[transform](theta, (3, 1, side, side))
    expected = F.grid_sample(images, grid, align_corners=False)
    if side == 56:
        expected = expected.unflatten(3, (28, 2)).unflatten(2, (28, 2))
        expected = expected.mean(dim=(3, 5))  # of (3, 1, 28, 2, 28, 2)
    assert seen.shape == (3, 1, 28, 28)
    assert_close(seen, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_localisation_sees_half_the_size(kind):
    """Detail that a 2x2 average loses does not move theta; the average does."""
    network, images = table_network(f"st-{kind}-affine", "R").eval(), images_for("R")
    nn.init.normal_(last_layer(network).weight)
    detail = torch.tensor([[0.2, -0.2], [-0.2, 0.2]]).repeat(14, 14)
    theta = network.straighten(images)[1]
    assert_close(network.straighten(images + detail)[1], theta, atol=1e-3, rtol=1e-3)
    other = network.straighten(images + detail.abs())[1]
    assert (other - theta).abs().max() > 0.05


@pytest.mark.parametrize("model", TRANSFORMERS)
def test_gradients_reach_every_weight(model):
    """At the start only the localisation net's last layer learns, then all of it."""
    network, images = table_network(model, "R"), images_for("R", 8)
    loss = F.cross_entropy(network(images), torch.arange(8))
    loss.backward()
    last = last_layer(network)
    assert last.weight.grad.any()
    assert last.bias.grad.any()
    with torch.no_grad():
        last.weight -= 0.1 * last.weight.grad
    F.cross_entropy(network(images), torch.arange(8)).backward()
    silent = [name for name, p in network.named_parameters() if not p.grad.any()]
    assert silent == []


@pytest.mark.skipif(not CPUINFO.exists(), reason="only Linux tells a CPU's features")
def test_multiplies_bfloat16_as_the_processor_says():
    features = set(CPUINFO.read_text().split())
    expected = not features.isdisjoint({"avx512_bf16", "amx_bf16"})
    assert multiplies_bfloat16("cpu") is expected


@pytest.mark.parametrize("able", [True, False])
def test_multiplies_bfloat16_as_the_gpu_says(able, monkeypatch):
    """A GPU that only imitates it says so when it is asked without imitation."""

    def supported(including_emulation=True):
        return able or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert multiplies_bfloat16("cuda") is able


def test_bfloat16_is_not_imitated(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    module, input = nn.Linear(50, 40), torch.randn(100, 50)
    assert torch.equal(BFloat16(module)(input), module(input))
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in an older PyTorch
    assert torch.equal(BFloat16(module)(input), module(input))


@pytest.fixture
def able(monkeypatch):
    """A processor that multiplies in bfloat16, or at least says so."""
    able = {"avx512_bf16": False, "amx_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)


def test_bfloat16_on_a_device_that_only_knows_shapes():
    module = BFloat16(nn.Conv2d(1, 2, 3)).to("meta")
    assert module(torch.empty(4, 1, 8, 8, device="meta")).shape == (4, 2, 6, 6)


@pytest.mark.usefixtures("able")
def test_bfloat16_computes_in_half_and_gives_back_whole():
    module = nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 10))
    seen = []
    module[0].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    input = torch.randn(100, 50, requires_grad=True)
    output = BFloat16(module)(input)
    assert seen == [torch.bfloat16]
    assert output.dtype == torch.float32
    whole = module(input)
    assert not torch.equal(output, whole)
    assert (output - whole).norm() < 0.01 * whole.norm()
    output.sum().backward()
    assert input.grad.dtype == torch.float32
    assert {p.grad.dtype for p in module.parameters()} == {torch.float32}


@pytest.mark.usefixtures("able")
@pytest.mark.parametrize("model", TABLE_MODELS)
def test_where_numbers_are_short(model):
    """Convolutions compute in bfloat16; theta, grid and sampler never do."""
    network = table_network(model, "RTS")
    dtypes = {"convolution": set(), "layer": set(), "theta": set(), "seen": set()}

    def note(kind):
        def hook(module, args, output):
            dtypes[kind].add(output.dtype)

        return hook

    def note_input(module, args):
        dtypes["seen"].add(args[0].dtype)

    for name, module in network.named_modules():
        if name.endswith("last"):
            module.register_forward_hook(note("theta"))
        elif isinstance(module, nn.Conv2d):
            module.register_forward_hook(note("convolution"))
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(note("layer"))
    network.classifier.register_forward_pre_hook(note_input)
    network(images_for("RTS"))
    if "fcn" in model:
        assert dtypes["layer"] == {torch.float32}
    else:
        assert dtypes["convolution"] == {torch.bfloat16}
    assert dtypes["theta"] == ({torch.float32} if "st-" in model else set())
    assert dtypes["seen"] == {torch.float32}


@pytest.mark.parametrize(
    ("model", "distortion", "message"),
    [
        ("st-cnn", "R", r"expected model to be one of \('fcn', .*, but got: 'st-cnn'"),
        ("st-mlp-affine", "R", "but got: 'st-mlp-affine'"),
        ("cnn", "r", r"one of \['R', 'RTS', 'P', 'E', 'TC'\], but got: 'r'"),
    ],
)
def test_unknown_names_are_refused(model, distortion, message):
    with pytest.raises(ValueError, match=message):
        table_network(model, distortion)


SHAPE = (1, 28, 28)
BAD = {
    "cnn of 23x24": (
        lambda: cnn((1, 23, 24), (4, 5)),
        r"24x24 .*, but got \(1, 23, 24",
    ),
    "cnn of 24x23": (
        lambda: cnn((1, 24, 23), (4, 5)),
        r"24x24 .*, but got \(1, 24, 23",
    ),
    "cnn of no channel": (lambda: cnn((0, 28, 28), (4, 5)), r"but got \(0, 28, 28\)"),
    "cnn without channels": (lambda: cnn((28, 28), (4, 5)), r"\(C, H, W\) .* \(28, 28"),
    "cnn of one layer": (lambda: cnn(SHAPE, (4,)), r"filters to be 2 .* got \(4,\)"),
    "cnn of no filters": (lambda: cnn(SHAPE, (0, 5)), r"2 whole .* from 1 .* \(0, 5\)"),
    "cnn of half a filter": (lambda: cnn(SHAPE, (2.5, 5)), r"whole .* \(2.5, 5\)"),
    "cnn of half a pixel": (lambda: cnn((1, 28.5, 28), (4, 5)), r"got \(1, 28.5, 28"),
    "fcn of half a unit": (lambda: fcn(SHAPE, (2.5,)), r"whole .* got \(2.5,\)"),
    "compact of nan": (lambda: compact_cnn((math.nan,)), r"whole .* got \(nan,\)"),
    "fcn of no pixels": (lambda: fcn((1, 0, 28), ()), r"1x1 .* got \(1, 0, 28\)"),
    "fcn of no units": (lambda: fcn(SHAPE, (9, 0)), r"hidden to be .* got \(9, 0\)"),
    "compact of none": (lambda: compact_cnn(()), "at least one convolution"),
    "compact of 0": (lambda: compact_cnn((4, 0)), r"filters to be .* got \(4, 0\)"),
    "nothing to pool": (lambda: Network(nn.Flatten(), pool=2), "but got pool=2"),
    "pool of a half": (
        lambda: Network(nn.Flatten(), SpatialTransformer(nn.Flatten()), pool=1.5),
        "whole number of at least 1, .* got pool=1.5",
    ),
    "pool of 0": (lambda: Network(nn.Flatten(), pool=0), "at least 1, .* got pool=0"),
    "nothing to straighten": (
        lambda: Network(nn.Flatten()).straighten(torch.zeros(2, *SHAPE)),
        "expected a network with a transformer, but it has none",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_what_makes_no_network_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_smallest_images_of_a_cnn():
    """Of 24x24 pixels one place is left: (24 - 8) / 2 = 8, (8 - 6) / 2 = 1."""
    assert sizes(cnn((2, 24, 24), (4, 5)), torch.rand(3, 2, 24, 24))[3:] == [
        ("MaxPool2d", 5, 1, 1),
        ("Linear", 10),
    ]
