"""Transformers leave PyTorch: exported at one size, they are right at others.

The reference is the module itself, at sizes that the exporter has not seen.
"""

import io

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim, export
from torch.testing import assert_close

from stn_tutorial import networks
from stn_tutorial.affine import affine_grid, identity
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer
from stn_tutorial.warps import control_points, projective_grid, thin_plate_spline_grid

# Grid generator, start, output size (a spline's is fixed), and a padding for each.
WARPS = {
    "affine": (affine_grid, identity(), None, "zeros"),
    "projective": (
        projective_grid,
        torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]]),
        None,
        "border",
    ),
    "spline": (thin_plate_spline_grid, control_points()[None], (7, 8), "reflection"),
}
SAMPLERS = {"book": grid_sample, "pytorch": F.grid_sample}
EXAMPLE = (2, 1, 12, 10)
OTHERS = [EXAMPLE, (1, 1, 9, 14), (5, 1, 20, 7)]
FREE = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
FREE_BATCH = ({0: Dim.DYNAMIC},)
# What the exporters say about their own code.
pytestmark = [
    pytest.mark.filterwarnings(
        r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
    ),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning"),
]


def random_images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def transformer_of(warp, sampler, mode="bilinear"):
    """One whose localisation net takes images of any size, with a theta for each."""
    torch.manual_seed(0)
    grid_generator, start, out_size, padding_mode = WARPS[warp]
    last = nn.Linear(2, start.numel())
    nn.init.normal_(last.weight, std=0.3)
    last.bias.data.copy_(start.flatten())
    localisation = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        last,
        nn.Unflatten(1, start.shape[1:]),
    )
    return SpatialTransformer(
        localisation, out_size, padding_mode, grid_generator, SAMPLERS[sampler], mode
    ).eval()


def in_onnxruntime(exported):
    """A function that runs an exported program in onnxruntime."""
    program = torch.onnx.export(exported, dynamo=True, verbose=False)
    assert program.model.opset_imports[""] >= 18
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (name,) = [given.name for given in session.get_inputs()]
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def assert_same(ours, theirs, shapes=OTHERS):
    for images in (random_images(*shape) for shape in shapes):
        with torch.no_grad():
            assert_close(theirs(images), ours(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("warp", WARPS)
def test_exported_with_free_batch_height_and_width(warp, sampler):
    transformer = transformer_of(warp, sampler)
    exported = export(transformer, (random_images(*EXAMPLE),), dynamic_shapes=FREE)
    assert_same(transformer, exported.module(), [*OTHERS, (0, 1, 9, 9)])
    assert_same(transformer, in_onnxruntime(exported))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_exported_in_every_mode(sampler):
    for mode in {"book": ["bicubic", "nearest", "integer"]}.get(sampler, ["bicubic"]):
        transformer = transformer_of("affine", sampler, mode)
        exported = export(transformer, (random_images(*EXAMPLE),), dynamic_shapes=FREE)
        assert_same(transformer, exported.module())


def test_the_books_localisation_net_with_a_free_batch():
    localisation = LocalisationNet((1, 12, 10), channels=(2,), hidden=(4,))
    nn.init.normal_(localisation.last.weight, std=0.1)
    transformer = SpatialTransformer(localisation, out_size=8, sampler=F.grid_sample)
    transformer.eval()
    exported = export(
        transformer, (random_images(*EXAMPLE),), dynamic_shapes=FREE_BATCH
    )
    shapes = [(n, *EXAMPLE[1:]) for n in (1, 2, 5)]
    assert_same(transformer, exported.module(), shapes)
    assert_same(transformer, in_onnxruntime(exported), shapes)


class TwoInputs(nn.Module):
    """Theta from small images, for photographs and their masks."""

    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer

    def forward(self, small, photo, mask):
        theta = self.transformer.localisation(small)
        size = photo.shape[2:]
        labels = self.transformer.sample(mask, theta, size, mode="nearest")
        return self.transformer.sample(photo, theta, size), labels


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("way", ["export", "trace", "compile"])
def test_a_second_tensor(way, sampler):
    module = TwoInputs(transformer_of("affine", sampler)).eval()

    def inputs(n, height, width):
        photo = random_images(n, 3, height, width)
        return random_images(n, *EXAMPLE[1:]), photo, (10 * photo[:, :1]).long()

    example, other = inputs(2, 30, 40), inputs(5, 17, 25)
    if way == "export":
        free = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
        exported = export(
            module, example, dynamic_shapes=({0: Dim.DYNAMIC}, free, free)
        )
        run = exported.module()
    elif way == "trace":
        run = torch.jit.trace(module, example)
    else:
        torch.compiler.reset()
        run = torch.compile(module, fullgraph=True, backend="eager", dynamic=True)
    for given in (example, other):
        assert_close(run(*given), module(*given))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("warp", WARPS)
def test_traced(warp, sampler):
    transformer = transformer_of(warp, sampler)
    assert_same(transformer, torch.jit.trace(transformer, random_images(*EXAMPLE)))


@pytest.mark.parametrize("warp", WARPS)
def test_compiled_in_one_graph(warp):
    """With gradients, and inside autocast."""
    torch.compiler.reset()
    transformer = transformer_of(warp, "book")
    compiled = torch.compile(transformer, fullgraph=True, backend="eager", dynamic=True)
    for shape in (EXAMPLE, OTHERS[-1]):
        results = []
        for function in (transformer, compiled):
            leaf = random_images(*shape).requires_grad_()
            output = function(leaf)
            results.append((output, *torch.autograd.grad(output.sum(), leaf)))
        assert_close(*results)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(transformer, compiled, [EXAMPLE])


def test_a_network_of_the_table(monkeypatch):
    """Where it computes in bfloat16, what is exported still is float32."""
    monkeypatch.setattr(networks, "multiplies_bfloat16", lambda device: True)
    network = networks.table_network("st-cnn-affine", "R").eval()
    run = in_onnxruntime(export(network, (random_images(2, 1, 28, 28),)))
    monkeypatch.undo()
    exact = nn.Module.double(network)
    images = random_images(2, 1, 28, 28)
    scores = run(images)
    expected = exact(images.double())
    assert (scores - expected).abs().max() < 1e-4 * expected.abs().max()


def test_half_precision_is_exported():
    transformer = transformer_of("affine", "book").bfloat16()
    images = random_images(*EXAMPLE).bfloat16()
    exported = export(transformer, (images,), dynamic_shapes=FREE)
    images = random_images(*OTHERS[-1]).bfloat16()
    assert torch.equal(exported.module()(images), transformer(images))


def test_what_does_not_work():
    """As the docstring says it."""
    transformer = transformer_of("affine", "book")
    with pytest.raises(ValueError, match="specialized due to hint of 1"):
        export(transformer, (random_images(1, 1, 12, 10),), dynamic_shapes=FREE_BATCH)
    with pytest.raises(RuntimeError):
        torch.jit.script(transformer)
    spline = transformer_of("spline", "book")
    spline.out_size = None
    with pytest.raises(Exception, match=r"specialized it to be a constant \(12\)"):
        export(spline, (random_images(*EXAMPLE),), dynamic_shapes=FREE)
