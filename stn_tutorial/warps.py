"""Warps that bend more than an affine one: projective and thin-plate spline.

Like :func:`stn_tutorial.affine.affine_grid`, each function here turns a few numbers
per image into a sampling grid, from target to source, in normalised (x, y): -1 and 1
are the outer edges of the image (``align_corners=False``). Places are computed in
float32 at least, inside ``torch.autocast`` too.
"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import (
    _check_whole,
    at_least_float32,
    check_output_size,
    homogeneous,
    normalised_to_pixel_matrix,
    pair,
    pixel_centres,
    samples_where,
    without_autocast,
)

#: The image's corners in normalised (x, y), clockwise from the upper left.
CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
# A place outside every image; as a pixel's number it still fits 32 bits.
FAR = 10_000.0
#: What the matrices of splines may hold together, one for 1024x1024 in float32.
SPLINE_CACHE_BYTES = 64 * 2**20
NEWTON_STEPS = 10


def target_points(size: Sequence[int], like: Tensor) -> Tensor:
    """The centre of every output pixel, normalised (x, y), shape (H * W, 2).

    Args:
        size: (N, C, H, W) of the output image.
        like: a tensor whose dtype and device the points get; for one in half
            precision they are float32.

    Used in chapter 6.
    """
    dtype = at_least_float32(like.dtype)
    x, y = (pixel_centres(n, False, dtype) for n in (size[3], size[2]))
    return torch.cartesian_prod(y, x).flip(1).to(like.device)


def projective_grid(theta: Tensor, size: Sequence[int]) -> Tensor:
    """The sampling grid of a projective transform, as a tilted page is seen.

    The matrix ``[[a, b, c], [d, e, f], [g, h, 1]]`` sends (x, y, 1) to (u, v, w),
    which stands for the point (u / w, v / w). Where w is 0 lies the horizon, and
    beyond it, where w is negative, nothing can be seen: those points look past the
    image, in the direction of (u, v). They get places 10,000 half-images away, and so
    do points just before the horizon that would look further; no gradient flows
    through them.

    Args:
        theta: the numbers a to h, shape (N, 8), or (1, 8) for one transform that
            serves the whole batch. The identity is ``1, 0, 0, 0, 1, 0, 0, 0``.
        size: (N, C, H, W) of the output image.

    Returns:
        grid, shape (N, H, W, 2); dtype of theta, but float32 for half precision.
        Gradients flow to theta. NaN where theta is NaN. One theta for a whole batch
        gives one grid in memory, which all images share.

    Raises:
        TypeError: theta is not a tensor.
        ValueError: theta is not a floating (N, 8), or size does not fit it.

    Paper: section 3.2 names this transform. Used in chapter 6.
    """
    _check(theta, "theta", ("N", 8))
    check_output_size(theta, size)
    wide = theta.to(at_least_float32(theta.dtype))
    matrix = F.pad(wide, (0, 1), value=1).view(-1, 3, 3)
    grid = _grid_of_matrix(matrix, size[2], size[3])
    return grid.expand(size[0], -1, -1, -1)


def _grid_of_matrix(matrix: Tensor, height: int, width: int) -> Tensor:
    """The grid of matrices (N, 3, 3) whose last rows reach 1, shape (N, H, W, 2)."""
    x = pixel_centres(width, False, matrix.dtype).to(matrix.device)
    y = pixel_centres(height, False, matrix.dtype).to(matrix.device)
    first, second, shift = matrix[..., None, None].unbind(2)
    planes = (first * x + shift) + second * y[:, None]  # (N, 3, H, W)
    u_and_v, w = planes.split([2, 1], dim=1)
    reach = u_and_v.detach().abs().amax(1, keepdim=True)
    hidden = w <= reach / FAR
    # Dividing by 1 where it is not used keeps the gradient there 0, and not 0 / 0.
    places = u_and_v / torch.where(hidden, 1, w)
    return torch.where(hidden, _far_away(u_and_v), places).permute(0, 2, 3, 1)


def _far_away(direction: Tensor) -> Tensor:
    """Places outside every image, in given directions, (N, 2, ...); no gradient."""
    direction = direction.detach()
    reach = direction.abs().amax(1, keepdim=True)
    return FAR * torch.where(reach > 0, direction / reach, 1)


def projective_from_corners(corners: Tensor) -> Tensor:
    """The projective transform that sends the image's corners to given points.

    Four points give eight linear equations for the eight numbers:
    ``a x + b y + c - (g x + h y) u = u``, and the like for v. Their solution is a
    matter of areas: w at a corner is four times the triangle of the *other* three
    points, as part of the sum of all four triangles. The rest follows from the w.

    Three points on one line have no triangle, so they are refused: when an area is no
    larger than rounding the corners' last digits can make it. How large or small the
    quadrilateral is does not matter.

    Args:
        corners: where the corners (-1, -1), (1, -1), (1, 1), (-1, 1) of the target go
            in the source, normalised (x, y), shape (N, 4, 2). If they form no convex
            quadrilateral, one of them lies behind the horizon.

    Returns:
        theta, shape (N, 8), as :func:`projective_grid` takes it; dtype of the corners,
        but float32 for half precision. NaN where the corners are NaN.

    Raises:
        TypeError: corners is not a tensor.
        ValueError: corners is not a floating (N, 4, 2), three corners lie on one line
            or two at one point, or the sides cross so that the areas on both sides
            are equal, which puts the middle of the target on the horizon.

    Used in chapter 6.
    """
    _check(corners, "corners", ("N", 4, 2))
    eps = torch.finfo(corners.dtype).eps
    matrix, flat, crossed = _matrix_of_corners(corners, eps)
    if which := samples_where(flat):
        raise ValueError(
            "expected four corners, no three of them on one line, but in sample(s) "
            f"{which} three lie on one line, or two at one point"
        )
    if which := samples_where(crossed):
        raise ValueError(
            "expected corners in their order around the image, but in sample(s) "
            f"{which} the sides cross, and the middle would lie on the horizon"
        )
    return matrix.flatten(1)[:, :8]


def _matrix_of_corners(corners: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices (N, 3, 3), which have no triangle, and which no area: (N,) both."""
    wide = corners.to(at_least_float32(corners.dtype))
    around = wide.detach()
    span = (around.amax(1) - around.amin(1)).amax(1)  # (N,)
    span = span.clamp(min=torch.finfo(span.dtype).tiny)
    side = (wide[:, 1:] - wide[:, :1]) / span[:, None, None]  # from the first corner
    one, two, three = side.unbind(1)
    # Twice the triangle without corner 0, 1, 2, 3, each side's length about 1.
    triangles = torch.stack(
        [
            _cross(two - one, three - one),
            _cross(two, three),
            _cross(one, three),
            _cross(one, two),
        ],
        dim=1,
    )
    area = triangles[:, 1] + triangles[:, 3]
    # Half an eps in each coordinate moves an area by 3 eps at most, our sums by less.
    rounding = 4 * eps * (around.abs().amax((1, 2)) / span).clamp(min=1)
    flat = (triangles.abs() <= rounding[:, None]).any(1)
    crossed = area.abs() <= rounding
    # The first corner minus the second, plus the third, minus the fourth is 0. So it
    # must be for their (u, v, w) = w (x', y', 1), which by Cramer's rule gives the w.
    w = (2 * triangles / area[:, None])[:, :, None]
    u_v_w = torch.cat([w * wide, w], 2)  # (N, 4, 3)
    target = F.pad(wide.new_tensor(CORNERS), (0, 1), value=1)  # (4, 3)
    # u, v, w are linear in x, y, 1, whose values at the corners are orthogonal.
    matrix = (u_v_w[:, :, :, None] * target[:, None]).sum(1) / 4
    return matrix, flat, crossed


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """The area that two vectors span: the determinant of (..., 2) and (..., 2)."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def undo_projective(grid: Tensor, size: int | Sequence[int] | None = None) -> Tensor:
    """The sampling grid that undoes another one: it takes every point back.

    A transform that is known can be undone exactly, as the best of all spatial
    transformers would do it. What its image has lost stays lost. Four points of the
    grid tell the transform: half-way from the middle to the corners, or nearer where
    the horizon cuts those off. Points of the source that no point before the horizon
    looks at get places far outside.

    Args:
        grid: of a projective or an affine transform, shape (N, h, w, 2), with at least
            two rows and columns.
        size: (H, W) of the image to be restored, or one number for a square; (h, w) if
            not given.

    Returns:
        grid, shape (N, H, W, 2); dtype of the input, but float32 for half precision.
        Gradients flow to the input. NaN where those four points are NaN.

    Raises:
        TypeError: grid is not a tensor.
        ValueError: grid is not floating, or not of such a shape; size is not (H, W); or
            a transform cannot be undone: it squashes the image onto a line or a point,
            decided as in :func:`projective_from_corners`, or its horizon passes the
            middle more closely than a sixteenth of the image.

    Used in chapter 6.
    """
    _check_grid(grid)
    n, h, w, _ = grid.shape
    height, width = (h, w) if size is None else pair(size)
    squares, scales = [], []
    for k in (2, 4, 8, 16):  # the part of the way from the middle to the corners
        left, top = (k - 1) * (w - 2) // (2 * k), (k - 1) * (h - 2) // (2 * k)
        right, low = w - 1 - left, h - 1 - top
        squares.append(grid[:, [top, top, low, low], [left, right, right, left]])
        scales.append([(right - left) / w, (low - top) / h, 1])
    points = torch.stack(squares, 1).double()  # (N, 4, 4, 2)
    cut_off = (points.abs().amax((2, 3)) > FAR / 2).sum(1)
    if which := samples_where(cut_off == 4):
        raise ValueError(
            "the grid cannot be undone: the horizon passes close to the middle in "
            f"sample(s) {which}"
        )
    nearest = cut_off.clamp(max=3)
    points = points.gather(1, nearest.view(-1, 1, 1, 1).expand(-1, 1, 4, 2))[:, 0]
    matrix, flat, crossed = _matrix_of_corners(points, torch.finfo(grid.dtype).eps)
    if which := samples_where(flat | crossed):
        raise ValueError(
            "the grid cannot be undone: it squashes the image onto a line or a point "
            f"in sample(s) {which}"
        )
    # It sends (-1, -1) and so on to those points; they lie that far from the middle:
    scale = points.new_tensor(scales)[nearest][:, :, None]  # (N, 3, 1)
    back = scale * torch.linalg.inv(matrix)
    back = back / back[:, 2:].detach().abs().amax(2, keepdim=True)
    back = back.to(at_least_float32(grid.dtype))
    return _grid_of_matrix(back, height, width)


def projective_from_matrix(
    matrix: Tensor | np.ndarray,
    in_size: int | Sequence[int],
    out_size: int | Sequence[int],
    forward: bool = False,
) -> Tensor:
    """The projective transform that OpenCV or scikit-image writes as a 3x3 matrix.

    Such a matrix takes pixel (x, y, 1) to pixel (u, v, w); whole numbers are the
    centres of pixels, and a multiple of it means the same.

    Args:
        matrix: shape (3, 3) or (N, 3, 3), a tensor or an array.
        in_size: (H, W) of the input image, or one number for a square.
        out_size: (H, W) of the output image, in the same way.
        forward: False if it takes output pixels to input pixels, as in
            ``skimage.transform.warp`` and with ``cv2.WARP_INVERSE_MAP``; True if it
            takes input pixels to output pixels, as in ``cv2.warpPerspective``.

    Returns:
        theta, shape (N, 8), as :func:`projective_grid` takes it; dtype of a floating
        tensor, but float32 for half precision; PyTorch's default for anything else.
        The middle of the output lies before the horizon, so of the plane's two sides
        it is that one which can be seen. (OpenCV shows both.)

    Raises:
        ValueError: there is no matrix, or it is not real and of such a shape; a size
            is not (H, W); the middle of the output lies on the horizon; or a forward
            matrix has no inverse.
    """
    if matrix is None or type(matrix).__name__ == "FailedEstimation":  # scikit-image's
        raise ValueError(f"expected a matrix, but its maker found none: {matrix}")
    dtype, eps = torch.get_default_dtype(), torch.finfo(torch.double).eps
    if matrix.is_complex() if isinstance(matrix, Tensor) else np.iscomplexobj(matrix):
        raise ValueError("expected a matrix of real numbers, but got complex ones")
    if not isinstance(matrix, Tensor):
        matrix = torch.tensor(np.asarray(matrix, dtype=float))
    elif matrix.is_floating_point():
        dtype, eps = at_least_float32(matrix.dtype), torch.finfo(matrix.dtype).eps
    if matrix.dim() not in (2, 3) or matrix.shape[-2:] != (3, 3):
        raise ValueError(
            "expected a matrix of shape (3, 3) or (N, 3, 3), but got "
            f"{tuple(matrix.shape)}; a 2x3 matrix lacks the row (0, 0, 1)"
        )
    into, out_of = (in_size, out_size) if forward else (out_size, in_size)
    # The inverse of what takes normalised points to pixels, the matrix, and that.
    normalised = (
        torch.linalg.inv(_to_pixels(out_of, matrix))
        @ matrix.double()
        @ _to_pixels(into, matrix)
    ).view(-1, 3, 3)
    if forward:
        normalised = _inverse(normalised, eps)
    row, ninth = normalised[:, 2], normalised[:, 2, 2]
    if which := samples_where(ninth.abs() <= 4 * eps * row.abs().amax(1)):
        raise ValueError(
            "expected the middle of the output before the horizon, but it lies on the "
            f"horizon in sample(s) {which}"
        )
    return (normalised.flatten(1) / ninth[:, None])[:, :8].to(dtype)


def matrix_from_projective(
    theta: Tensor,
    in_size: int | Sequence[int],
    out_size: int | Sequence[int],
    forward: bool = False,
) -> Tensor:
    """Undo :func:`projective_from_matrix`: write theta as a 3x3 matrix in pixels.

    Args:
        theta: shape (N, 8), as :func:`projective_grid` takes it.
        in_size: (H, W) of the input image, or one number for a square.
        out_size: (H, W) of the output image, in the same way.
        forward: False for a matrix from output pixels to input pixels, True for one
            from input pixels to output pixels.

    Returns:
        shape (N, 3, 3), with a 1 as its last entry unless that is 0; dtype of theta,
        but float32 for half precision.

    Raises:
        TypeError: theta is not a tensor.
        ValueError: theta is not a floating (N, 8), a size is not (H, W), or a forward
            matrix is asked of a theta that has no inverse.
    """
    _check(theta, "theta", ("N", 8))
    matrix = F.pad(theta.double(), (0, 1), value=1).view(-1, 3, 3)
    into, out_of = in_size, out_size
    if forward:
        matrix = _inverse(matrix, torch.finfo(theta.dtype).eps)
        into, out_of = out_size, in_size
    pixels = (
        _to_pixels(into, theta) @ matrix @ torch.linalg.inv(_to_pixels(out_of, theta))
    )
    last = pixels[:, 2:, 2:]
    pixels = pixels / torch.where(last == 0, 1, last)
    return pixels.to(at_least_float32(theta.dtype))


def _to_pixels(size: int | Sequence[int], like: Tensor) -> Tensor:
    """From normalised (x, y, 1) to pixels in an image of a size, (1, 3, 3), double."""
    matrix = homogeneous(normalised_to_pixel_matrix(size, align_corners=False))
    return matrix.double().to(like.device)


def _inverse(matrix: Tensor, eps: float) -> Tensor:
    """Invert (N, 3, 3), or refuse what is singular once rows and columns reach 1."""
    scaled = matrix
    for dim in (2, 1):
        scaled = scaled / scaled.abs().amax(dim, keepdim=True).clamp(min=1e-300)
    if which := samples_where(torch.linalg.det(scaled).abs() <= 8 * eps):
        raise ValueError(
            "the transform has no inverse: it squashes the plane onto a line or a "
            f"point in sample(s) {which}"
        )
    return torch.linalg.inv(matrix)


def control_points(
    side: int = 4,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """A regular lattice of side x side points from -1 to 1, shape (side * side, 2).

    Args:
        side: points along each side.
        dtype: of the points; PyTorch's default if not given.
        device: of the points; PyTorch's default if not given.

    Raises:
        ValueError: side is not a whole number from 2 on.

    Used in chapter 6.
    """
    _check_whole("side", side, least=2)
    line = torch.linspace(-1, 1, side, dtype=dtype, device=device)
    return torch.cartesian_prod(line, line).flip(1)


@without_autocast
def thin_plate_spline_grid(points: Tensor, size: Sequence[int]) -> Tensor:
    """The sampling grid of a thin-plate spline, the smoothest bend through points.

    In the target the control points are the regular lattice
    :func:`control_points`; ``points`` says where each looks in the source. Every
    other pixel looks where a thin steel sheet would, bent through those points.
    The grid is linear in ``points``, so one matrix, the same for all images, makes it.
    Matrices are kept for the sizes used last, 64 MB of them.

    Args:
        points: places in the source, normalised (x, y), shape (N, K, 2), or (1, K, 2)
            for one bend that serves the whole batch; K is the square of a whole
            number, 16 in the paper.
        size: (N, C, H, W) of the output image. What ``torch.export`` makes of it has
            a fixed H and W; N may change.

    Returns:
        grid, shape (N, H, W, 2); dtype of the points, but float32 for half precision.
        Gradients flow to points. NaN where points are NaN. One bend for a whole batch
        gives one grid in memory, which all images share.

    Raises:
        TypeError: points is not a tensor.
        ValueError: points is not a floating (N, K, 2) of such a K, or size does not
            fit it.

    Paper: section 3.2 names this transform, after Bookstein (1989). Used in
    chapter 6.
    """
    _check(points, "points", ("N", "K", 2))
    side = round(int(points.shape[1]) ** 0.5)
    if side < 2 or side**2 != points.shape[1]:
        raise ValueError(
            "expected points of shape (N, K, 2) with K a square number from 4 on, "
            f"but got {tuple(points.shape)}"
        )
    check_output_size(points, size)
    height, width = int(size[2]), int(size[3])
    wide = points.to(at_least_float32(points.dtype))
    precision = np.float64 if wide.dtype == torch.double else np.float32
    matrix = torch.from_numpy(_spline_matrix(side, height, width, precision))
    planes = wide.mT.reshape(-1, side**2) @ matrix.to(wide).T  # (2 N, H W)
    grid = planes.view(-1, 2, height, width).permute(0, 2, 3, 1)
    return grid.expand(size[0], -1, -1, -1)


Kind = type[np.float32] | type[np.float64]
_kept: dict[tuple[int, int, int, Kind], np.ndarray] = {}  # the last used at the end
_lock = Lock()


def _spline_matrix(side: int, height: int, width: int, precision: Kind) -> np.ndarray:
    """:func:`_make_spline_matrix`, kept from call to call.

    In NumPy: a tensor would remember for good in which of PyTorch's modes it was made.
    """
    if torch.compiler.is_compiling():  # the graph keeps it, or makes it
        return _make_spline_matrix(side, height, width).astype(precision)
    key = side, height, width, precision
    with _lock:
        matrix = _kept.pop(key, None)
    if matrix is None:
        matrix = _make_spline_matrix(side, height, width).astype(precision)
    with _lock:
        _kept[key] = matrix
        while sum(each.nbytes for each in _kept.values()) > SPLINE_CACHE_BYTES:
            del _kept[next(iter(_kept))]
    return matrix


def _make_spline_matrix(side: int, height: int, width: int) -> np.ndarray:
    """From the places of K control points to those of all pixels: shape (H * W, K).

    A spline is a sum of one bump ``r^2 log r^2`` per control point and an affine
    part. Its K + 3 weights solve a linear system: it passes through the control
    points, and its bumps have no affine part of their own.
    """
    line = np.linspace(-1, 1, side)
    control = _lattice(line, line)
    x, y = ((2 * np.arange(n) + 1) / n - 1 for n in (width, height))
    k = len(control)
    system = np.zeros((k + 3, k + 3))
    system[:k] = _spline_terms(control, control)
    system[k:, :k] = system[:k, k:].T
    weights = np.linalg.solve(system, np.eye(k + 3, k))
    return _spline_terms(_lattice(x, y), control) @ weights


def _lattice(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All points (x, y), row by row."""
    return np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)


def _spline_terms(points: np.ndarray, control: np.ndarray) -> np.ndarray:
    """One bump per control point, then 1, x, y: shape (P, K + 3)."""
    square = ((points[:, None] - control) ** 2).sum(axis=2)
    bumps = square * np.log(np.where(square > 0, square, 1))
    return np.hstack([bumps, np.ones((len(points), 1)), points])


def undo_grid(grid: Tensor, size: int | Sequence[int] | None = None) -> Tensor:
    """The sampling grid that undoes a smooth one, such as a spline's, nearly.

    For each pixel of the source, which point of the target looks at it? Newton's
    method finds that point, from where the affine transform nearest to the grid has
    it. Between its points the grid counts as bilinear, beyond its rim as straight. So
    the answer is exact for an affine grid, and for a spline off by what a bend leaves
    of one pixel: on digits bent as in the paper's set E, hundredths of a pixel.

    Where the grid folds, several points look at one pixel, and one of them is found or
    none. A pixel for which none is found within a hundredth of a pixel gets a place
    10,000 half-images away, outside every image, and no gradient. A projective grid
    with a horizon is for :func:`undo_projective`.

    Args:
        grid: shape (N, h, w, 2), with at least two rows and columns.
        size: (H, W) of the image to be restored, or one number for a square; (h, w) if
            not given.

    Returns:
        grid, shape (N, H, W, 2); dtype of the input, but float32 for half precision.
        Gradients flow to the input. All NaN for a grid that holds a NaN.

    Raises:
        TypeError: grid is not a tensor.
        ValueError: grid is not floating, or not of such a shape; size is not (H, W); or
            the nearest affine transform squashes the image onto a line or a point.
    """
    _check_grid(grid)
    n, h, w, _ = grid.shape
    height, width = (h, w) if size is None else pair(size)
    planes = grid.to(at_least_float32(grid.dtype)).permute(0, 3, 1, 2)
    goal = target_points((n, 1, height, width), planes).T  # (2, H W)
    pixel = planes.new_tensor([[2 / width], [2 / height]])
    place = _affine_guess(planes.detach(), goal, torch.finfo(grid.dtype).eps)
    for _ in range(NEWTON_STEPS):
        place = place.detach()
        value, along_x, along_y = _read_grid(planes, place)
        rest = goal - value  # (N, 2, H W)
        place = place + _solve(along_x.detach(), along_y.detach(), rest)
    # Only the last step's gradient is kept: a root moves by that much.
    lost = (rest.abs() > pixel / 100).any(1, keepdim=True)
    return torch.where(lost, _far_away(place), place).mT.reshape(n, height, width, 2)


def _affine_guess(planes: Tensor, goal: Tensor, eps: float) -> Tensor:
    """Where the affine transform nearest to a grid (N, 2, h, w) looks at each goal."""
    x, y = (
        pixel_centres(n, False, planes.dtype).to(planes) for n in planes.shape[:1:-1]
    )
    middle = planes.mean((2, 3))[:, :, None]  # (N, 2, 1)
    along_x = (planes * x).mean((2, 3))[:, :, None] / x.square().mean()
    along_y = (planes * y[:, None]).mean((2, 3))[:, :, None] / y.square().mean()
    length = torch.maximum(along_x.abs(), along_y.abs()).amax(1)  # (N, 1)
    rounding = (
        4 * eps * length * torch.maximum(length, planes.abs().amax((1, 2, 3))[:, None])
    )
    if which := samples_where((_cross(along_x.mT, along_y.mT).abs() <= rounding)[:, 0]):
        raise ValueError(
            "the grid cannot be undone: as a whole it squashes the image onto a line "
            f"or a point in sample(s) {which}"
        )
    return _solve(along_x, along_y, goal - middle)


def _solve(along_x: Tensor, along_y: Tensor, rest: Tensor) -> Tensor:
    """How far to go in x and y to move by ``rest``: Cramer's rule, (N, 2, P) all."""
    along_x, along_y, rest = along_x.mT, along_y.mT, rest.mT
    area = _cross(along_x, along_y)
    area = torch.where(area == 0, 1, area)
    return (
        torch.stack([_cross(rest, along_y), _cross(along_x, rest)], 1) / area[:, None]
    )


def _read_grid(planes: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A grid between its points, and its slopes there.

    Args:
        planes: the grid, shape (N, 2, h, w).
        place: where to read it, normalised (x, y), shape (N, 2, P).

    Returns:
        the value, and how it changes with x and with y, shape (N, 2, P) each.
    """
    h, w = planes.shape[2:]
    x = (place[:, :1] + 1) * (w / 2) - 0.5  # (N, 1, P)
    y = (place[:, 1:] + 1) * (h / 2) - 0.5
    left = x.nan_to_num().floor().clamp(0, w - 2)
    top = y.nan_to_num().floor().clamp(0, h - 2)
    index = (top.long() * w + left.long()).expand(-1, 2, -1)
    one, two, three, four = (
        planes.flatten(2).gather(2, index + step) for step in (0, 1, w, w + 1)
    )
    across, down = (x - left).clamp(0, 1), (y - top).clamp(0, 1)
    past_x, past_y = x - left - across, y - top - down  # 0 but beyond the rim
    twist = four - three - two + one
    along_x = two - one + down * twist
    along_y = three - one + across * twist
    value = one + across * (two - one) + down * along_y
    value = value + past_x * along_x + past_y * along_y
    along_x = along_x + torch.where(past_x == 0, past_y * twist, 0)
    along_y = along_y + torch.where(past_y == 0, past_x * twist, 0)
    return value, along_x * (w / 2), along_y * (h / 2)


def _check(given: Tensor, name: str, shape: Sequence[int | str]) -> None:
    """Refuse what is not a floating tensor; a letter in the shape is any number."""
    expected = f"floating point {name} of shape ({', '.join(map(str, shape))})"
    if not isinstance(given, Tensor):
        raise TypeError(
            f"expected {expected}, but got a {type(given).__name__}; torch.as_tensor "
            "makes a tensor of an array or a list"
        )
    fits = given.dim() == len(shape) and all(
        isinstance(n, str) or n == m for n, m in zip(shape, given.shape, strict=True)
    )
    if not fits or not given.is_floating_point():
        hint = f"; {name}[None] makes a batch" if given.dim() == len(shape) - 1 else ""
        raise ValueError(
            f"expected {expected}, but got {given.dtype} of shape "
            f"{tuple(given.shape)}{hint}"
        )


def _check_grid(grid: Tensor) -> None:
    _check(grid, "grid", ("N", "h", "w", 2))
    if grid.shape[1] < 2 or grid.shape[2] < 2:
        raise ValueError(
            "expected a grid of shape (N, h, w, 2) with at least two rows and columns, "
            f"but got {tuple(grid.shape)}"
        )
