"""The exercises of chapter 1: affine transforms."""

import math

import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor

from stn_tutorial.affine import (
    compose,
    invert,
    pixel_to_normalised,
    rotation,
    scaling,
    shear,
    translation,
)
from stn_tutorial.exercises import Exercise, WrongForm, kind, numbers_in

Box = tuple[int, int, int, int]
Size = tuple[int, int]
Point = tuple[float, float]

SWAPPED = (
    "x and y changed places. Points and boxes are (x, y), and x runs along the width; "
    "a size is (height, width)."
)
INVERSE = (
    "this is the inverse. theta takes a point of the output to the place in the input "
    "that it shows, not the other way."
)
OTHER_WAY = (
    "the grid turns the other way. With y pointing down, `rotation(30)` turns the grid "
    "clockwise on the screen, so its content counter-clockwise."
)
CORNERS = (
    "-1 and 1 are taken for the centres of the outer pixels. With "
    "`align_corners=False` they are the image's edges."
)
PIXELS = "the numbers are in pixels. theta is in normalised coordinates."
RADIANS = "the angle was turned into radians. `rotation` takes degrees."
SHEARED = (
    "it turns in normalised coordinates. Their units differ in x and y when the image "
    "is not square, so the picture is sheared. Turn pixels."
)
HALF = (
    "half a pixel is missing. Pixel 0 has its centre half a pixel inside the image's "
    "edge, so pixel x lies at (2 x + 1) / W - 1."
)


# 1.1: a rotation by three shears


def three_shears_together(got: object, angle_deg: float) -> Tensor:
    numbers = numbers_in(got)
    if numbers is None or len(numbers.flatten()) != 2:
        raise WrongForm(f"expected two numbers, k and m, but got {kind(got)}.")
    k, m = numbers.flatten().tolist()
    if not (math.isfinite(k) and math.isfinite(m)):
        raise WrongForm("k or m is not finite.")
    return compose(shear(k, 0), shear(0, m), shear(k, 0))


def by_swapped_shears(angle_deg: float) -> Tensor:
    angle = math.radians(angle_deg)
    k, m = -math.tan(angle / 2), math.sin(angle)
    return compose(shear(m, 0), shear(0, k), shear(m, 0))


def misread_degrees(angle_deg: float) -> Tensor:
    return rotation(math.degrees(angle_deg))


# 1.2: a crop is a transform


def crop(box: Box, size: Size, align_corners: bool = False) -> Tensor:
    x1, y1, x2, y2 = box
    out_size = (y2 - y1, x2 - x1)  # pixel (0, 0) of the output is (x1, y1) of the input
    return pixel_to_normalised(translation(x1, y1), size, out_size, align_corners)


def crop_with_swapped_box(box: Box, size: Size) -> Tensor:
    x1, y1, x2, y2 = box
    return crop((y1, x1, y2, x2), size)


def crop_from_corner(box: Box, size: Size) -> Tensor:
    theta = crop(box, size)
    theta[:, :, 2] -= theta[:, :, :2].sum(dim=2)  # where the window's corner lies
    return theta


def crop_twice_as_large(box: Box, size: Size) -> Tensor:
    theta = crop(box, size)
    theta[:, :, :2] *= 2
    return theta


def crop_from_zero(box: Box, size: Size) -> Tensor:
    theta = crop(box, size)
    theta[:, :, 2] = (theta[:, :, 2] + 1) / 2  # from 0 to 1
    return theta


# 1.3: turn about a point


def turn_about(
    point: Point, angle_deg: float, size: Size, align_corners: bool = False
) -> Tensor:
    matrix = turn_in_pixels(point, angle_deg, size)
    return pixel_to_normalised(matrix, size, size, align_corners)


def turn_in_pixels(point: Point, angle_deg: float, size: Size) -> Tensor:
    x, y = point
    return compose(translation(x, y), rotation(angle_deg), translation(-x, -y))


def turn_sheared(
    point: Point, angle_deg: float, size: Size, half: float = 0.5
) -> Tensor:
    x, y = (2 * (p + half) / n - 1 for p, n in zip(point, size[::-1], strict=True))
    return compose(translation(x, y), rotation(angle_deg), translation(-x, -y))


def turn_in_wrong_order(point: Point, angle_deg: float, size: Size) -> Tensor:
    x, y = point
    matrix = compose(translation(-x, -y), rotation(angle_deg), translation(x, y))
    return pixel_to_normalised(matrix, size, size)


# 1.4: theta from points


def one_theta(got: object, target: Tensor, source: Tensor) -> object:
    theta = numbers_in(got)
    if theta is None:
        return got
    return theta[0] if theta.shape == (1, 2, 3) else theta  # both shapes will do


def fit(target: Tensor, source: Tensor) -> Tensor:
    line = LinearRegression().fit(target, source)
    rows = zip(line.coef_, line.intercept_, strict=True)
    return torch.tensor([[*a, t] for a, t in rows])


def fit_without_shift(target: Tensor, source: Tensor) -> Tensor:
    line = LinearRegression(fit_intercept=False).fit(target, source)
    return torch.tensor([[*a, 0] for a in line.coef_])


def fit_reshaped(target: Tensor, source: Tensor) -> Tensor:
    return fit(target, source).T.reshape(2, 3)


def fit_three(target: Tensor, source: Tensor) -> Tensor:
    return fit(target[:3], source[:3])


def point_pairs() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for n, noise in ((3, 0.0), (12, 0.0), (100, 0.05)):
        theta = compose(rotation(20.0 + n), scaling(0.8), translation(0.1, 0.3))
        target = torch.randn(n, 2, generator=generator)
        points = torch.cat([target, torch.ones(n, 1)], dim=1)
        source = points @ theta[0].T + noise * torch.randn(n, 2, generator=generator)
        cases.append({"target": target, "source": source})
    return cases


EXERCISES = {
    "1.1": Exercise(
        asks="three_shears(angle_deg)",
        cases=lambda: [{"angle_deg": angle} for angle in (30.0, -45.0, 10.0, 120.0)],
        read=three_shears_together,
        expected=rotation,
        mistakes=[
            (OTHER_WAY, lambda angle_deg: rotation(-angle_deg)),
            (
                "degrees were taken for radians; `math.radians` converts them.",
                misread_degrees,
            ),
            ("k and m changed places.", by_swapped_shears),
            (
                "k and m do not depend on the angle. These turn by 30°, always.",
                lambda angle_deg: rotation(30.0),
            ),
        ],
    ),
    "1.2": Exercise(
        asks="crop_theta(box, size)",
        cases=lambda: [
            {"box": box, "size": (300, 451)}
            for box in ((100, 60, 220, 160), (0, 0, 451, 300), (7, 0, 10, 300))
        ],
        expected=crop,
        mistakes=[
            (SWAPPED, crop_with_swapped_box),
            (SWAPPED, lambda box, size: crop(box, size[::-1])),
            (INVERSE, lambda box, size: invert(crop(box, size))),
            (CORNERS, lambda box, size: crop(box, size, align_corners=True)),
            (
                "tx and ty hold the window's corner. They say where its centre lies.",
                crop_from_corner,
            ),
            (
                "the window is twice as wide and high as the box. The numbers before x "
                "and y multiply a square from -1 to 1, which is 2 wide.",
                crop_twice_as_large,
            ),
            (
                "tx and ty run from 0 to 1 here. Normalised coordinates run from -1 "
                "to 1, with 0 in the middle.",
                crop_from_zero,
            ),
            (PIXELS, lambda box, size: translation(box[0], box[1])),
        ],
    ),
    "1.3": Exercise(
        asks="turn_about(point, angle_deg, size)",
        cases=lambda: [
            {"point": point, "angle_deg": angle, "size": size}
            for point, angle, size in (
                ((258, 240), 30.0, (300, 451)),
                ((0, 0), -75.0, (40, 20)),
                ((10, 4), 90.0, (30, 30)),
            )
        ],
        expected=turn_about,
        mistakes=[
            (
                SWAPPED,
                lambda point, angle_deg, size: turn_about(point[::-1], angle_deg, size),
            ),
            (
                SWAPPED,
                lambda point, angle_deg, size: turn_about(point, angle_deg, size[::-1]),
            ),
            (
                OTHER_WAY,
                lambda point, angle_deg, size: turn_about(point, -angle_deg, size),
            ),
            (SHEARED, turn_sheared),
            (
                SHEARED,
                lambda point, angle_deg, size: turn_sheared(
                    point, angle_deg, size, half=0
                ),
            ),
            (
                "this is `rotation` alone. It turns about the image's centre, and in "
                "normalised coordinates, whose units differ in x and y when the image "
                "is not square: the picture is sheared.",
                lambda point, angle_deg, size: rotation(angle_deg),
            ),
            (
                HALF,
                lambda point, angle_deg, size: turn_about(
                    (point[0] - 0.5, point[1] - 0.5), angle_deg, size
                ),
            ),
            (
                RADIANS,
                lambda point, angle_deg, size: turn_about(
                    point, math.radians(angle_deg), size
                ),
            ),
            (
                "the two shifts changed places. `compose` applies its last transform "
                "first: bring the point to the origin, turn, bring it back.",
                turn_in_wrong_order,
            ),
            (
                "it turns about the image's centre.",
                lambda point, angle_deg, size: turn_about(
                    ((size[1] - 1) / 2, (size[0] - 1) / 2), angle_deg, size
                ),
            ),
            (
                CORNERS,
                lambda point, angle_deg, size: turn_about(point, angle_deg, size, True),
            ),
            (PIXELS, turn_in_pixels),
        ],
    ),
    "1.4": Exercise(
        asks="fit_theta(target, source)",
        cases=point_pairs,
        read=one_theta,
        expected=fit,
        mistakes=[
            (INVERSE, lambda target, source: fit(source, target)),
            (
                "x and y changed places. Points are (x, y), and so are theta's rows.",
                lambda target, source: fit(target.flip(1), source.flip(1)),
            ),
            (
                "it has no shift. Give each target point a third coordinate, 1.",
                fit_without_shift,
            ),
            (
                "the six numbers stand in the wrong order. To turn a 3×2 matrix into "
                "a 2×3 one, transpose it; a reshape mixes rows and columns.",
                fit_reshaped,
            ),
            ("it uses three of the pairs. Least squares uses all of them.", fit_three),
        ],
        tolerance=1e-3,
    ),
}
