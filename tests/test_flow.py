"""Dense flow: SciPy reads the same places, and known flows come back."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch.testing import assert_close

from stn_tutorial.affine import affine, affine_grid
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.flow import (
    FlowNet,
    align_flow,
    charbonnier,
    flow_grid,
    flow_loss,
    grid_flow,
    jacobian,
    move_points,
    resize_flow,
    roughness,
    warp_by_flow,
)
from stn_tutorial.pixels import map_points


@pytest.fixture
def flow():
    return 2 * torch.randn(2, 2, 6, 9, generator=torch.Generator().manual_seed(0))


def test_scipy_reads_the_same_places(flow):
    image = torch.rand(2, 1, 6, 9, generator=torch.Generator().manual_seed(1))
    warped = warp_by_flow(image, flow)
    rows, columns = np.indices((6, 9))
    for i in range(2):
        right, down = flow[i].numpy()
        theirs = ndimage.map_coordinates(
            image[i, 0].numpy(),
            [rows + down, columns + right],
            order=1,
            mode="grid-constant",
        )
        assert abs(warped[i, 0].numpy() - theirs).max() < 1e-5


def test_whole_steps_copy_pixels():
    """Flow (1, -2): each pixel shows the one to its right and two above."""
    image = torch.arange(20.0).view(1, 1, 4, 5)
    flow = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 4, 5)
    warped = warp_by_flow(image, flow, "nearest")
    assert warped[0, 0, 2:, :4].tolist() == image[0, 0, :2, 1:].tolist()
    assert warped[0, 0, :2].abs().sum() == warped[0, 0, :, 4].abs().sum() == 0


def test_a_mask_stays_a_mask(flow):
    labels = torch.randint(3, (2, 1, 6, 9), generator=torch.Generator().manual_seed(0))
    carried = warp_by_flow(labels, flow, "nearest")
    assert carried.dtype == torch.int64
    assert_close(carried.float(), warp_by_flow(labels.float(), flow, "nearest"))


def test_flow_and_grid_are_each_others_inverse(flow):
    assert_close(grid_flow(flow_grid(flow)), flow, atol=1e-5, rtol=0)
    assert flow_grid(flow.half()).dtype == torch.float32


def test_points_move_as_an_affine_transform_moves_them():
    size, theta = (20, 30), affine(0.9, 0.2, 0.05, -0.1, 0.8, 0.1)
    flow = grid_flow(affine_grid(theta, (1, 1, *size), align_corners=False))
    points = torch.tensor([[[3.0, 4.0], [17.25, 9.5], [0.0, 19.0]]])
    theirs = map_points(theta, points, size, size)
    assert_close(move_points(flow, points), theirs, atol=1e-4, rtol=0)


def test_the_jacobian_is_numpys_determinant(flow):
    places = flow.double().numpy() + np.indices((6, 9))[::-1]
    right = np.diff(places, axis=3)[:, :, :-1]
    down = np.diff(places, axis=2)[:, :, :, :-1]
    theirs = np.linalg.det(np.stack([right, down], -1).transpose(0, 2, 3, 1, 4))
    assert abs(jacobian(flow).numpy() - theirs).max() < 1e-4


def test_the_jacobian_tells_size_and_folds():
    columns = torch.arange(8.0)
    flow = torch.zeros(3, 2, 8, 8)
    flow[0, 0] = columns  # twice as far apart along x
    flow[1, 0] = -2 * columns  # a mirror
    assert jacobian(flow).flatten(1).unique(dim=1).squeeze().tolist() == [2, -1, 1]


def test_roughness_and_penalties():
    flow = torch.zeros(1, 2, 2, 2)
    flow[0, 0, :, 1] = 3.0  # of four differences to the right two are 3
    assert roughness(flow).item() == pytest.approx(9 / 2)
    bent = roughness(flow, charbonnier).item()
    assert bent == pytest.approx((np.hypot(3, 0.1) - 0.1) / 2, rel=1e-5)
    image = torch.rand(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    left = (warp_by_flow(image, flow) - image).square().mean()
    total = flow_loss(image, image, flow, 0.5)
    assert_close(total, (left + 0.5 * 9 / 2)[None])


def test_a_larger_flow_has_longer_vectors():
    flow = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    larger = resize_flow(flow, (6, 12))
    assert_close(larger, torch.tensor([3.0, -4.0]).view(1, 2, 1, 1).expand(1, 2, 6, 12))


def test_a_known_flow_comes_back():
    """A wave and a shift, on a photograph: within half a pixel where it shows."""
    photo = F.interpolate(cat_photo(), (60, 90), mode="area")
    y = torch.arange(60.0).view(-1, 1)
    true = torch.stack([3 + 1.5 * torch.sin(y / 10).expand(60, 90), torch.ones(60, 90)])
    target = warp_by_flow(photo, true[None], padding_mode="border")
    options = {"padding_mode": "border", "sampler": F.grid_sample}
    found = align_flow(photo, target, 0.03, charbonnier, **options)
    miss = (found[0] - true).norm(dim=0)[8:-8, 8:-8]
    assert miss.mean() < 0.5 < true.norm(dim=0).mean()


def test_each_sample_is_aligned_by_itself():
    images = torch.rand(2, 1, 8, 12, generator=torch.Generator().manual_seed(0))
    both = align_flow(images, images.flip(2), 0.1, side=4, steps=3)
    alone = align_flow(images[:1], images[:1].flip(2), 0.1, side=4, steps=3)
    assert_close(both[:1], alone)
    with torch.inference_mode():
        inside = align_flow(images.clone(), images.flip(2), 0.1, side=4, steps=3)
    assert_close(inside, both)


def test_nan_is_not_aligned():
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    broken = images.clone()
    broken[1, 0, 4, 4] = torch.nan
    found = align_flow(broken, images, 0.1, steps=2)
    assert found.isnan().flatten(1).any(1).tolist() == [False, True]


def test_the_network_learns_a_shift():
    torch.manual_seed(0)
    net, gen = FlowNet(width=4), torch.Generator().manual_seed(0)
    photo = cat_photo().mean(1, keepdim=True)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(60):
        rows, columns = (torch.randint(n - 18, (2,), generator=gen) for n in (300, 451))
        source = torch.cat(
            [
                photo[..., r : r + 16, c : c + 16]
                for r, c in zip(rows, columns, strict=True)
            ]
        )
        target = torch.cat(
            [
                photo[..., r : r + 16, c + 2 : c + 18]
                for r, c in zip(rows, columns, strict=True)
            ]
        )
        flow = net(source, target)
        if step == 0:
            assert flow.abs().max() < 0.1  # it starts as the identity
        loss = flow_loss(
            source, target, flow, 0.001, padding_mode="border", sampler=F.grid_sample
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert flow[:, 0].mean() > 0.5
    assert flow[:, 1].abs().mean() < flow[:, 0].mean()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: flow_grid(torch.zeros(1, 6, 9, 2)), ValueError, "flow of shape"),
        (lambda: flow_grid(torch.zeros(2, 6, 9)), ValueError, "flow of shape"),
        (lambda: flow_grid(np.zeros((1, 2, 6, 9))), TypeError, "flow of shape"),
        (lambda: grid_flow(torch.zeros(1, 2, 6, 9)), ValueError, "grid of shape"),
        (
            lambda: move_points(torch.zeros(1, 2, 4, 4), torch.zeros(3, 2)),
            ValueError,
            "points of shape",
        ),
        (lambda: jacobian(torch.zeros(1, 2, 1, 4)), ValueError, "at least two rows"),
        (
            lambda: align_flow(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9), 0.1),
            ValueError,
            "target of shape",
        ),
        (
            lambda: align_flow(*torch.zeros(2, 1, 1, 8, 8), 0.1, steps=0),
            ValueError,
            "steps",
        ),
        (lambda: resize_flow(torch.zeros(2, 4), (8, 8)), ValueError, "flow of shape"),
        (lambda: FlowNet()(*torch.zeros(2, 1, 1, 8, 9)), ValueError, "four divides"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
