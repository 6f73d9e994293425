"""The spatial transformer: its start, its gradients, where it fits, that it learns."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.testing import assert_close

from stn_tutorial.affine import (
    affine_grid,
    compose,
    identity,
    invert,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.interpolation import grid_sample, warp
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer
from stn_tutorial.warps import control_points, projective_grid, thin_plate_spline_grid

KINDS = {
    "fully connected": {},
    "linear": {"hidden": ()},
    "convolutional": {"channels": (4, 6), "hidden": (16,)},
}
WARPS = {
    "affine": (affine_grid, identity()),
    "projective": (projective_grid, torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]])),
    "spline": (thin_plate_spline_grid, control_points()[None]),
}
every_warp = pytest.mark.parametrize(
    ("grid_generator", "start"), WARPS.values(), ids=WARPS
)
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


class Fixed(nn.Module):
    """A localisation net that always answers with the same theta."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, input):
        return self.theta.expand(len(input), *self.theta.shape[1:])


def of_pytorch(images, theta, size, mode, padding_mode):
    """What PyTorch's own two functions make of it."""
    n, c = images.shape[:2]
    grid = F.affine_grid(theta.expand(n, 2, 3), (n, c, *size), align_corners=False)
    return F.grid_sample(images, grid, mode, padding_mode, align_corners=False)


def random_images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@every_kind
@pytest.mark.parametrize("in_shape", [(1, 28, 28), (3, 17, 9)])
def test_starts_as_the_identity(kind, in_shape):
    images = random_images(2, *in_shape)
    transformer = SpatialTransformer(LocalisationNet(in_shape, **kind))
    output, theta = transformer(images, return_theta=True)
    assert torch.equal(theta, identity(2))
    assert_close(output, images, atol=1e-5, rtol=0)
    assert_close(transformer(images), output)


@every_kind
def test_gradients_reach_every_weight(kind):
    """At the start the last layer's weights are 0, so only that layer learns."""
    localisation = LocalisationNet((2, 12, 12), **kind)
    transformer = SpatialTransformer(localisation)
    optimiser = torch.optim.SGD(localisation.parameters(), lr=0.1)
    images, target = random_images(2, 4, 2, 12, 12)
    F.mse_loss(transformer(images), target).backward()
    assert localisation.last.weight.grad.any()
    assert localisation.last.bias.grad.all()
    assert not any(p.grad.any() for p in localisation.body.parameters())
    optimiser.step()
    F.mse_loss(transformer(images), target).backward()
    assert all(p.grad.any() for p in localisation.parameters())


def test_each_image_gets_its_own_theta():
    localisation = LocalisationNet((1, 8, 8))
    nn.init.normal_(localisation.last.weight)
    images = random_images(3, 1, 8, 8)
    transformer = SpatialTransformer(localisation)
    output, theta = transformer(images, return_theta=True)
    assert not torch.equal(theta[0], theta[1])
    alone, theta_alone = transformer(images[1:2], return_theta=True)
    assert_close(theta_alone, theta[1:2])
    assert_close(alone, output[1:2])
    assert_close(output, warp(images, theta))


@every_warp
def test_every_warp_starts_as_the_identity(grid_generator, start):
    images = random_images(3, 2, 12, 10)
    localisation = LocalisationNet((2, 12, 10), start=start)
    transformer = SpatialTransformer(localisation, grid_generator=grid_generator)
    output, theta = transformer(images, return_theta=True)
    assert torch.equal(theta, torch.cat([start, start, start]))
    assert_close(output, images, atol=1e-5, rtol=0)


@every_warp
def test_every_warp_learns(grid_generator, start):
    """One step changes every number of theta, and what is seen; the loss falls."""
    localisation = LocalisationNet((1, 12, 12), start=start)
    transformer = SpatialTransformer(localisation, grid_generator=grid_generator)
    optimiser = torch.optim.SGD(transformer.parameters(), lr=0.01)
    images, target = random_images(2, 4, 1, 12, 12)
    before = F.mse_loss(transformer(images), target)
    before.backward()
    optimiser.step()
    output, theta = transformer(images, return_theta=True)
    assert (theta != start).all()
    assert (output - images).abs().max() > 1e-3
    assert F.mse_loss(output, target) < before


def test_start_is_copied():
    """Training the net leaves the given tensor as it is."""
    start = identity()
    localisation = LocalisationNet((1, 8, 8), start=start)
    nn.init.zeros_(localisation.last.bias)
    assert torch.equal(start, identity())


@every_warp
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
def test_sampler_of_pytorch_gives_the_same(grid_generator, start, padding_mode):
    """Outputs, and gradients of images and weights."""
    images, results = random_images(3, 2, 9, 8), []
    for sampler in ({}, {"sampler": grid_sample}, {"sampler": F.grid_sample}):
        torch.manual_seed(0)
        localisation = LocalisationNet((2, 9, 8), hidden=(8,), start=start)
        nn.init.normal_(localisation.last.weight, std=0.2)
        transformer = SpatialTransformer(
            localisation, (7, 6), padding_mode, grid_generator, **sampler
        ).double()
        leaf = images.double().requires_grad_()
        output = transformer(leaf)
        gradients = torch.autograd.grad(
            output.square().sum(), (leaf, *transformer.parameters())
        )
        results.append((output.detach(), *gradients))
    assert all(map(torch.equal, results[0], results[1]))
    assert_close(results[1], results[2])
    assert results[0][0].shape == (3, 2, 7, 6)


def test_grid_generator_and_sampler_are_asked():
    """The one gets theta and the output's size, the other what the first gave."""
    theta = torch.tensor([[0.5, 0.25, 0.125]])
    grid = 2 * random_images(2, 3, 4, 2) - 1

    def grid_generator(*given):
        assert torch.equal(given[0], theta.expand(2, 3))
        assert given[1:] == ((2, 1, 3, 4),)
        return grid

    def sampler(*given, **options):
        assert torch.equal(given[0], images)
        assert given[1] is grid
        assert options == {
            "mode": "nearest",
            "padding_mode": "border",
            "align_corners": False,
        }
        return images[:, :, :3, :4]

    images = random_images(2, 1, 5, 5)
    transformer = SpatialTransformer(
        Fixed(theta), (3, 4), "border", grid_generator, sampler, "nearest"
    )
    output, seen = transformer(images, return_theta=True)
    assert torch.equal(output, images[:, :, :3, :4])
    assert torch.equal(seen, theta.expand(2, 3))


@pytest.mark.parametrize("kind", [{}, {"channels": (4,), "hidden": ()}])
def test_localisation_is_more_than_a_linear_map(kind):
    localisation = LocalisationNet((1, 8, 8), **kind)
    nn.init.normal_(localisation.last.weight)
    a, b = torch.randn(2, 1, 1, 8, 8)
    theta = localisation(torch.cat([a, b, a + b, 0 * a]))
    assert (theta[0] + theta[1] - theta[2] - theta[3]).abs().max() > 0.01


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("out_size", [None, (4, 4), 5, (13, 6), (1, 1)])
def test_is_grid_and_sampler_of_pytorch(out_size, padding_mode, mode):
    theta = torch.tensor([[[0.87, -0.61, 0.31], [0.43, 1.17, -0.23]]])
    images = random_images(3, 2, 7, 9)
    transformer = SpatialTransformer(Fixed(theta), out_size, padding_mode, mode=mode)
    output = transformer(images)
    size = (3, 2, *{None: (7, 9), 5: (5, 5)}.get(out_size, out_size))
    assert output.shape == size
    expected = of_pytorch(images, theta, size[2:], mode, padding_mode)
    assert_close(output, expected, atol=1e-5, rtol=0)


every_sampler = pytest.mark.parametrize("sampler", [grid_sample, F.grid_sample])


@every_sampler
@pytest.mark.parametrize("shape", [(4, 3, 31, 50), (1, 3, 31, 50)])
def test_theta_serves_a_second_tensor(sampler, shape):
    """Found on small copies, applied to other images, or to one and the same."""
    localisation = LocalisationNet((1, 8, 8))
    nn.init.normal_(localisation.last.weight, std=0.5)
    transformer = SpatialTransformer(localisation, (6, 5), "border", sampler=sampler)
    small, photos = random_images(4, 1, 8, 8), random_images(*shape)
    theta = transformer.localisation(small)
    assert torch.equal(transformer.sample(small, theta), transformer(small))
    assert transformer.sample(photos, theta).shape == (4, 3, 6, 5)
    output = transformer.sample(photos, theta, out_size=20, mode="bicubic")
    photos = photos.expand(4, -1, -1, -1)
    expected = of_pytorch(photos, theta, (20, 20), "bicubic", "border")
    assert_close(output, expected, atol=1e-5, rtol=0)


@every_sampler
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_a_mask_keeps_its_labels(sampler, dtype):
    """PyTorch's sampler reads the same labels as float64, which holds them exactly."""
    mask = (2**33 * random_images(2, 1, 9, 8).double()).to(dtype)
    theta = rotation(torch.tensor([20.0, -50.0]))
    transformer = SpatialTransformer(Fixed(theta), sampler=sampler)
    output = transformer.sample(mask, theta, out_size=(12, 7), mode="nearest")
    expected = of_pytorch(mask.double(), theta.double(), (12, 7), "nearest", "zeros")
    assert output.dtype == dtype
    assert torch.equal(output.double(), expected)


def test_a_mask_comes_back_through_theta():
    """A disc found in the output is the disc of the input, but for a pixel's rim."""
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    mask = ((x - 50) ** 2 + (y - 25) ** 2 < 100)[None, None]
    theta = compose(translation(0.2, -0.1), rotation(30.0), scaling(0.6))
    transformer = SpatialTransformer(Fixed(theta), out_size=100, mode="nearest")
    found = transformer.sample(mask, theta)
    back = warp(found, invert(theta), mask.shape[2:], mode="nearest")
    rim = ((x - 50) ** 2 + (y - 25) ** 2).sqrt().sub(10).abs() < 1
    assert 0 < (found.sum() - mask.sum()) < found.numel() / 4
    assert torch.equal(back[0, 0][~rim], mask[0, 0][~rim])


@every_sampler
@pytest.mark.parametrize(("grid_generator", "start"), WARPS.values(), ids=WARPS)
def test_autocast_leaves_the_places_alone(grid_generator, start, sampler):
    """The layers' sums may be coarse; theta, grid and places are as without it."""
    localisation = LocalisationNet((1, 64, 48), start=start)
    nn.init.normal_(localisation.last.weight, std=0.1)
    transformer = SpatialTransformer(
        localisation, grid_generator=grid_generator, sampler=sampler
    )
    images = random_images(2, 1, 64, 48)
    seen = []
    localisation.last.register_forward_hook(lambda _, x, y: seen.append((x[0], y)))
    with torch.autocast("cpu", torch.bfloat16):
        output, theta = transformer(images, return_theta=True)
        output.sum().backward()
        between = transformer(nn.Conv2d(1, 1, 1)(images))  # bfloat16, as layers give it
    features, last = seen[0]
    assert_close(last, F.linear(features, *localisation.last.parameters()))
    assert theta.dtype == output.dtype == torch.float32
    expected = sampler(images, grid_generator(theta, images.shape), align_corners=False)
    assert_close(output, expected)
    assert localisation.last.weight.grad.any()
    assert between.dtype == torch.bfloat16


@every_sampler
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype, sampler):
    """A wide image: its far columns differ by less than half precision's places do."""
    localisation = LocalisationNet((1, 4, 600), hidden=(), start=scaling(0.75))
    transformer = SpatialTransformer(localisation, sampler=sampler).to(dtype)
    images = random_images(2, 1, 4, 600).to(dtype)
    output, theta = transformer(images, return_theta=True)
    expected = of_pytorch(images.float(), theta.float(), (4, 600), "bilinear", "zeros")
    assert output.dtype == dtype
    assert_close(output, expected.to(dtype), atol=0, rtol=torch.finfo(dtype).eps)


@every_kind
def test_fits_between_two_layers(kind):
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        SpatialTransformer(LocalisationNet((4, 10, 10), **kind), out_size=(6, 6)),
        nn.Conv2d(4, 2, 3),
        nn.Flatten(),
    )
    images = random_images(5, 1, 12, 12)
    scores = network(images)
    assert scores.shape == (5, 2 * 4 * 4)
    scores.square().sum().backward()
    assert network[0].weight.grad.any()
    assert network[1].localisation.last.bias.grad.all()


def test_gradcheck():
    localisation = LocalisationNet((1, 4, 5), hidden=(3,)).double()
    nn.init.normal_(localisation.last.weight, std=0.1)
    localisation.last.bias.data += 0.05  # off the pixels, where slopes jump
    transformer = SpatialTransformer(localisation, out_size=(3, 4))
    images = random_images(2, 1, 4, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(transformer, images)
    assert torch.autograd.gradcheck(
        lambda weight: torch.func.functional_call(
            transformer, {"localisation.last.weight": weight}, images.detach()
        ),
        localisation.last.weight,
    )


def test_learns_to_undo_a_shift():
    """A shifted blob comes back: the loss falls a hundredfold, the same each time."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    target = torch.exp(-((x - 7) ** 2 + (y - 8) ** 2) / 8)[None, None]
    source = warp(target, translation(-0.25, 0.125))

    def fit():
        torch.manual_seed(0)
        transformer = SpatialTransformer(LocalisationNet((1, 16, 16), hidden=(8,)))
        optimiser = torch.optim.Adam(transformer.parameters(), lr=0.01)
        losses = []
        for _ in range(60):
            output, theta = transformer(source, return_theta=True)
            loss = F.mse_loss(output, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses, theta.detach()

    losses, theta = fit()
    assert losses[-1] < losses[0] / 100
    assert_close(theta[0, :, 2], torch.tensor([0.25, -0.125]), atol=0.05, rtol=0)
    assert fit()[0] == losses


def test_empty_batch():
    transformer = SpatialTransformer(LocalisationNet((1, 8, 8)), out_size=(4, 4))
    assert transformer(torch.zeros(0, 1, 8, 8)).shape == (0, 1, 4, 4)


IMAGES = torch.zeros(2, 1, 8, 8)
NET = LocalisationNet((1, 8, 8))
BAD = {
    "shape of one number": (
        lambda: LocalisationNet(28),
        r"expected in_shape \(C, H, W\) of positive integers, got 28",
    ),
    "shape with half a pixel": (
        lambda: LocalisationNet((1, 28.5, 28)),
        r"positive integers, got \(1, 28.5, 28\)",
    ),
    "channels of one number": (
        lambda: LocalisationNet((1, 28, 28), channels=8),
        "expected channels to be a sequence of positive integers.* got 8",
    ),
    "no hidden unit": (
        lambda: LocalisationNet((1, 28, 28), hidden=(32, 0)),
        r"expected hidden to be a sequence of positive integers.* got \(32, 0\)",
    ),
    "start of lists": (
        lambda: LocalisationNet((1, 8, 8), start=[[1, 0, 0], [0, 1, 0]]),
        r"one theta of shape \(1, 2, 3\), .* but got a list",
    ),
    "shape of two numbers": (
        lambda: LocalisationNet((28, 28)),
        r"expected in_shape \(C, H, W\) of positive integers, got \(28, 28\)",
    ),
    "shape of no channels": (
        lambda: LocalisationNet((0, 28, 28)),
        r"positive integers, got \(0, 28, 28\)",
    ),
    "too small for the poolings": (
        lambda: LocalisationNet((1, 28, 7), channels=(4, 4, 4)),
        r"3 poolings need .* at least 8 pixels a side, got in_shape \(1, 28, 7\)",
    ),
    "start without a batch": (
        lambda: LocalisationNet((1, 8, 8), start=identity()[0]),
        r"one theta of shape \(1, 2, 3\), .* but got shape \(2, 3\)",
    ),
    "start of two": (
        lambda: LocalisationNet((1, 8, 8), start=identity(2)),
        r"one theta of shape \(1, 2, 3\), .* but got shape \(2, 2, 3\)",
    ),
    "start of eight numbers without a batch": (
        lambda: LocalisationNet((1, 8, 8), start=torch.zeros(8)),
        r"or \(1, ...\) for another kind of transform, but got shape \(8,\)",
    ),
    "start of control points without a batch": (
        lambda: LocalisationNet((1, 8, 8), start=control_points()),
        r"or \(1, ...\) for another kind of transform, but got shape \(16, 2\)",
    ),
    "channels": (
        lambda: SpatialTransformer(LocalisationNet((3, 8, 8)))(IMAGES),
        r"expected .*\(3, 8, 8\), but got \(2, 1, 8, 8\)",
    ),
    "no batch": (
        lambda: SpatialTransformer(NET)(IMAGES[0]),
        r"shape \(N, C, H, W\).* but got shape \(1, 8, 8\)",
    ),
    "no batch, localisation": (
        lambda: NET(IMAGES[0]),
        r"shape \(N, C, H, W\).* but got shape \(1, 8, 8\)",
    ),
    "volumes": (
        lambda: SpatialTransformer(NET)(IMAGES[None]),
        r"shape \(N, C, H, W\).* but got shape \(1, 2, 1, 8, 8\)",
    ),
    "bytes": (
        lambda: SpatialTransformer(NET)(IMAGES.byte()),
        "floating point type.* image / 255.* but got torch.uint8",
    ),
    "more digits than the weights": (
        lambda: SpatialTransformer(NET)(IMAGES.double()),
        "weights' type torch.float32, but got torch.float64",
    ),
    "a mask between labels": (
        lambda: SpatialTransformer(NET).sample(IMAGES.byte(), identity()),
        'mode="nearest" for a mask',
    ),
    "theta of six numbers": (
        lambda: SpatialTransformer(Fixed(torch.zeros(1, 6)))(IMAGES),
        r"Nx2x3, but got \(2, 6\)",
    ),
    "theta of another batch": (
        lambda: SpatialTransformer(lambda _: identity(3))(IMAGES),
        "3 transforms, but size asks for 2",
    ),
    "theta for another grid": (
        lambda: SpatialTransformer(
            LocalisationNet((1, 8, 8)), grid_generator=projective_grid
        )(IMAGES),
        r"shape \(N, 8\), but got torch.float32 of shape \(2, 2, 3\)",
    ),
    "output size": (
        lambda: SpatialTransformer(NET, out_size=(4, 0)),
        r"expected a size \(H, W\) of positive whole numbers.* got \(4, 0\)",
    ),
    "output size of a half": (
        lambda: SpatialTransformer(NET, out_size=(4, 4.5)),
        r"expected a size \(H, W\) of positive whole numbers.* got \(4, 4.5\)",
    ),
    "output size of another": (
        lambda: SpatialTransformer(NET).sample(IMAGES, identity(), (1, 8, 8)),
        r"expected a size \(H, W\) of positive whole numbers.* got \(1, 8, 8\)",
    ),
    "padding": (
        lambda: SpatialTransformer(NET, padding_mode="wrap"),
        r"\['zeros', 'border', 'reflection'\], but got: 'wrap'",
    ),
    "mode": (
        lambda: SpatialTransformer(NET, mode="cubic"),
        r"'nearest', 'integer', 'bilinear', 'bicubic'\], but got: 'cubic'",
    ),
    "mode of the other sampler": (
        lambda: SpatialTransformer(NET, sampler=F.grid_sample, mode="integer"),
        r"\['nearest', 'bilinear', 'bicubic'\], but got: 'integer'",
    ),
}
NO_TENSOR = {
    "array": lambda: SpatialTransformer(NET)(IMAGES.numpy()),
    "array, localisation": lambda: NET(IMAGES.numpy()),
    "array, second": lambda: SpatialTransformer(NET).sample(IMAGES.numpy(), identity()),
    "picture": lambda: SpatialTransformer(NET)(Image.new("L", (8, 8))),
    "theta": lambda: SpatialTransformer(lambda x: (identity(2), x))(IMAGES),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("call", NO_TENSOR.values(), ids=NO_TENSOR)
def test_what_is_no_tensor_is_named(call):
    with pytest.raises(TypeError, match=r"(ndarray|PIL.Image.Image|tuple)\b"):
        call()
