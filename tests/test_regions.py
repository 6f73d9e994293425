"""Boxes out of a feature map: the published definitions, in plain loops, agree.

torchvision's two operations serve as the definition; the loops here follow its
documentation and share no code with the package. onnxruntime's RoiAlign, which is
defined to give torchvision's results, and a published example stand beside them.
"""

import math

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch.testing import assert_close

from stn_tutorial.regions import roi_align, roi_pool


def bilinear(plane, y, x):
    """Read one place: 0 beyond a pixel outside, else as if the border went on."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), height - 2), min(int(x), width - 2)
    v, u = y - top, x - left
    upper = (1 - u) * plane[top, left] + u * plane[top, left + 1]
    lower = (1 - u) * plane[top + 1, left] + u * plane[top + 1, left + 1]
    return (1 - v) * upper + v * lower


def align_by_loops(features, box, size, scale, ratio, aligned):
    x1, y1, x2, y2 = (v * scale - 0.5 * aligned for v in box)
    wide, high = x2 - x1, y2 - y1
    if not aligned:
        wide, high = max(wide, 1), max(high, 1)
    cell_h, cell_w = high / size[0], wide / size[1]
    rows = ratio if ratio > 0 else math.ceil(cell_h)
    columns = ratio if ratio > 0 else math.ceil(cell_w)
    out = np.zeros((len(features), *size))
    for c, plane in enumerate(features):
        for i, j in np.ndindex(*size):
            read = [
                bilinear(
                    plane,
                    y1 + (i + (a + 0.5) / rows) * cell_h,
                    x1 + (j + (b + 0.5) / columns) * cell_w,
                )
                for a in range(rows)
                for b in range(columns)
            ]
            out[c, i, j] = sum(read) / max(len(read), 1)
    return out


def pool_by_loops(features, box, size, scale):
    def nearest(v):  # halves away from 0
        return int(np.sign(v) * np.floor(abs(v) + 0.5))

    x1, y1, x2, y2 = (nearest(v * scale) for v in box)
    wide, high = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    _, height, width = features.shape
    out = np.zeros((len(features), *size))
    for i, j in np.ndindex(*size):
        top = np.clip(math.floor(i * high / size[0]) + y1, 0, height)
        bottom = np.clip(math.ceil((i + 1) * high / size[0]) + y1, 0, height)
        left = np.clip(math.floor(j * wide / size[1]) + x1, 0, width)
        right = np.clip(math.ceil((j + 1) * wide / size[1]) + x1, 0, width)
        cell = features[:, top:bottom, left:right]
        if cell.size:
            out[:, i, j] = cell.max((1, 2))
    return out


BOXES = torch.tensor(
    [
        [0.0, 3.1, 2.2, 17.9, 13.4],
        [1, 0, 0, 28, 20],
        [1, -6, -9, 9.5, 4.25],  # reaches out of the map
        [0, 12.3, 5.5, 12.3, 9.1],  # no area
        [0, 26, 18, 40, 33],
        [1, 7, 7, 7.5, 7.25],  # smaller than a pixel
    ]
)


@pytest.fixture(scope="module")
def features():
    gen = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 10, 14, generator=gen, dtype=torch.float64)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [2, 3, -1])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_align_is_the_definition(features, scale, ratio, aligned):
    boxes = BOXES.double()
    found = roi_align(features, boxes, (3, 2), scale, ratio, aligned)
    for k, (sample, *box) in enumerate(boxes.tolist()):
        plane = features[int(sample)].numpy()
        theirs = align_by_loops(plane, box, (3, 2), scale, ratio, aligned)
        assert abs(found[k].numpy() - theirs).max() < 1e-9, k


def align_by_onnxruntime(features, boxes, size, scale, ratio, aligned):
    types = {"x": TensorProto.FLOAT, "rois": TensorProto.FLOAT, "n": TensorProto.INT64}
    shape = "half_pixel" if aligned else "output_half_pixel"
    node = helper.make_node(
        "RoiAlign",
        list(types),
        ["y"],
        mode="avg",
        output_height=size[0],
        output_width=size[1],
        spatial_scale=scale,
        sampling_ratio=max(ratio, 0),
        coordinate_transformation_mode=shape,
    )
    inputs = [
        helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "align", inputs, outputs)
    opset = helper.make_opsetid("", 16)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    values = features.numpy(), boxes[:, 1:].numpy(), boxes[:, 0].long().numpy()
    (found,) = session.run(None, dict(zip(types, values, strict=True)))
    return torch.from_numpy(found)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [2, 3, -1])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_align_is_onnxruntimes(features, scale, ratio, aligned):
    settings = (features.float(), BOXES, (3, 2), scale, ratio, aligned)
    assert_close(
        roi_align(*settings), align_by_onnxruntime(*settings), atol=1e-5, rtol=1e-5
    )


def test_align_gives_published_values():
    """The example by which detectron2 explains `aligned`, read by torchvision's op."""
    plane = torch.arange(25.0).view(1, 1, 5, 5)
    box = torch.tensor([[0.0, 1, 1, 3, 3]])
    right = torch.tensor([4.5, 5.0, 5.5, 6.0]) + 2.5 * torch.arange(4.0).view(-1, 1)
    assert_close(roi_align(plane, box, 4, 1.0, 0, aligned=True)[0, 0], right)
    off = roi_align(plane, box, 4, 1.0, 0, aligned=False)[0, 0]
    assert_close(off, right + 3)  # half a pixel down is 2.5, half to the right 0.5


def test_align_gives_recorded_values():
    """A plane f(y, x) = 10 y + x is read exactly by bilinear interpolation.

    The box 2 to 6 by 1 to 5, on a map of the image's own size, has cells of 2 x 2
    pixels. Their middles stand at edges x = 3, 5 and y = 2, 4, which are pixel centres
    x = 2.5, 4.5 and y = 1.5, 3.5, and the mean of the four points of a cell is the
    value at its middle. At half the scale the box is 1 to 3 by 0.5 to 2.5, its cells'
    middles are at edges x = 1.5, 2.5 and y = 1, 2, so at x = 1, 2 and y = 0.5, 1.5.
    """
    plane = 10 * torch.arange(8.0).view(-1, 1) + torch.arange(9.0)
    box = torch.tensor([[0.0, 2, 1, 6, 5]])
    found = roi_align(plane[None, None], box, 2, 1.0, 2, aligned=True)
    assert_close(found[0, 0], torch.tensor([[17.5, 19.5], [37.5, 39.5]]))
    found = roi_align(plane[None, None], box, 2, 0.5, 2, aligned=True)
    assert_close(found[0, 0], torch.tensor([[6.0, 7.0], [16.0, 17.0]]))
    off = roi_align(plane[None, None], box, 2, 1.0, 2)  # half a pixel each way
    assert_close(off[0, 0], torch.tensor([[23.0, 25.0], [43.0, 45.0]]))


@pytest.mark.parametrize("scale", [0.5, 1.0])
@pytest.mark.parametrize("size", [(2, 3), (4, 4)])
def test_pool_is_the_definition(features, size, scale):
    boxes = BOXES.double()
    found = roi_pool(features, boxes, size, scale)
    for k, (sample, *box) in enumerate(boxes.tolist()):
        theirs = pool_by_loops(features[int(sample)].numpy(), box, size, scale)
        assert abs(found[k].numpy() - theirs).max() == 0, k


def test_pytorchs_sampler_gives_the_same(features):
    ours = roi_align(features, BOXES.double(), 4, 0.5, 2, True)
    theirs = roi_align(features, BOXES.double(), 4, 0.5, 2, True, F.grid_sample)
    assert_close(ours, theirs)


def test_gradients_reach_features_and_boxes():
    gen = torch.Generator().manual_seed(1)
    features = torch.randn(1, 1, 6, 7, generator=gen, dtype=torch.float64)
    box = torch.tensor([[0, 1.3, 0.7, 4.9, 4.2]], dtype=torch.float64)

    def read(features, edges):
        boxes = torch.cat([box[:, :1], edges], 1)
        return roi_align(features, boxes, 2, 1.0, 2, True)

    inputs = features.requires_grad_(), box[:, 1:].clone().requires_grad_()
    assert torch.autograd.gradcheck(read, inputs)
    pooled = roi_pool(features, box, 2)
    pooled.sum().backward()
    assert features.grad.sum() == 4  # one maximum a cell


def test_half_precision_and_no_boxes(features):
    boxes = BOXES[:2]
    half = roi_align(features.half(), boxes, 2, 0.5, 2, True)
    assert half.dtype == torch.float16
    wide = roi_align(features.float(), boxes, 2, 0.5, 2, True)
    assert_close(half.float(), wide, atol=0.01, rtol=0.01)
    assert roi_align(features, boxes[:0].double(), 2).shape == (0, 3, 2, 2)
    assert roi_pool(features, boxes[:0].double(), 2).shape == (0, 3, 2, 2)


@pytest.mark.parametrize("function", [roi_align, roi_pool])
@pytest.mark.parametrize("flaw", ["nan", "sample", "order", "shape", "type", "size"])
def test_what_does_not_fit_is_refused(function, flaw):
    features, boxes = torch.zeros(1, 1, 4, 4), torch.tensor([[0.0, 1, 1, 3, 3]])
    size, error, match = 2, ValueError, ""
    if flaw == "nan":
        boxes[0, 2], match = torch.nan, "finite"
    elif flaw == "sample":
        boxes[0, 0], match = 1, "a sample from 0 to 0"
    elif flaw == "order":
        boxes[0, 3], match = 0.5, "x1 <= x2"
    elif flaw == "shape":
        boxes, match = boxes[:, 1:], "boxes of shape"
    elif flaw == "type":
        features, error, match = [[1.0]], TypeError, "input of shape"
    else:
        size, match = (2, 0), "size"
    with pytest.raises(error, match=match):
        function(features, boxes, size)


@pytest.mark.parametrize("function", [roi_align, roi_pool])
def test_nan_stays_nan(function):
    features = torch.zeros(1, 1, 6, 6)
    features[0, 0, 1, 1] = torch.nan
    read = function(features, torch.tensor([[0.0, 0, 0, 6, 6]]), 2)
    assert read.isnan().flatten().tolist() == [True, False, False, False]
