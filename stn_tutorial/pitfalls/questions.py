"""Does it read where it should? The questions, each with what to do about a fault."""

from collections.abc import Callable

import torch
from torch import Tensor

from stn_tutorial.affine import affine_grid, identity, rotation, scaling
from stn_tutorial.pitfalls.learning import LEARNING
from stn_tutorial.pitfalls.patient import RESTING, Patient, differ
from stn_tutorial.pitfalls.readings import MISTAKES
from stn_tutorial.pitfalls.report import NOTE, RIGHT, WRONG, Finding

Test = Callable[[Patient], Finding | None]


def about_numbers(patient: Patient) -> Finding:
    """NaN and infinity."""
    for name, values in (("theta", patient.theta), ("the output", patient.output)):
        if values is not None and not values.isfinite().all():
            return Finding(
                "numbers",
                WRONG,
                f"{name} holds NaN or infinity, so nothing else was tested",
                "bound theta, lower the localisation net's rate, and stop a training "
                "at the first loss that is not finite: on some devices the backward "
                "pass of F.grid_sample crashes the whole process on a grid of NaN",
            )
    if patient.training or not draws_lots(patient):
        return Finding("numbers", RIGHT, "theta and the output are finite")
    return Finding(
        "numbers",
        WRONG,
        "the same images give another output each time, in evaluation mode too, so "
        "nothing else was tested",
        "look for F.dropout without training=self.training, and for noise on theta",
    )


def draws_lots(patient: Patient) -> bool:
    """Whether the same images give another output each time."""
    with torch.no_grad():
        return not torch.equal(patient.run(patient.input, seed=1)[0], patient.output)


def about_start(patient: Patient) -> Finding | None:
    """The identity, for every image."""
    if patient.theta is None:
        return Finding(
            "start",
            NOTE,
            "no theta seen: no part gives six numbers an image, and F.affine_grid is "
            "not called, so only the output could be tested",
            "let a submodule named localisation give theta of shape (N, 2, 3)",
        )
    if patient.reading is None or patient.off > 0.3:
        return None  # its six numbers may be none of theta's
    theta = patient.theta.float()
    mend = (
        "start the last layer with zero weights and the bias (1, 0, 0, 0, 1, 0); if "
        "this module has been trained already, say trained=True"
    )
    if (theta - identity().to(theta)).abs().max() < 1e-3:
        return Finding("start", RIGHT, "theta is the identity for every image")
    if patient.training and draws_lots(patient):
        return None
    told = str([round(number, 2) for number in theta[0].flatten().tolist()])
    if theta[:, :, :2].det().abs().max() < 1e-3:
        text = "theta squeezes the grid onto one line or point, so nothing can be seen"
        return Finding("start", WRONG, text, mend)
    if (theta - theta[:1]).abs().max() < 1e-3:
        text = f"theta is the same for every image, but no identity: {told}"
        return Finding("start", NOTE, text, mend + "; if you mean this window, fine")
    text = f"theta is no identity and differs between images, as in {told}"
    return Finding("start", WRONG, text, mend)


def about_warp(patient: Patient) -> Finding | None:
    """Where the module reads, for three thetas on images of noise."""
    if patient.theta is None:
        return None
    reading, off = patient.reading, patient.off
    if reading is None:
        text = "another theta changes nothing that could be compared"
        mend = "is theta used at all, and detached nowhere?"
        return Finding("warp", NOTE, text, mend)
    sampler = f"{reading.mode}, {reading.padding_mode}, align_corners={reading.read}"
    mistaken = reading.mistake or reading.made != reading.read
    if off > 0.3 or (off > 0 and mistaken):  # a mistake has to fit exactly
        return Finding(
            "warp",
            NOTE,
            f"what comes out is no warp that this test knows. The nearest ({sampler}) "
            f"reads about {off:.1f} pixels away. A blur, an average or another kind of "
            "grid may be meant; a mistake of another kind may not",
            "put simple thetas in by hand, identity, translation, rotation, and "
            "compare with stn_tutorial.interpolation.warp",
        )
    faults, mends = [], []
    if reading.mistake:
        faults.append(reading.mistake)
        mends.append(MISTAKES[reading.mistake][1])
    if reading.made != reading.read:
        faults.append(
            f"the grid is made with align_corners={reading.made} and read with "
            f"align_corners={reading.read}"
        )
        mends.append(
            "write one align_corners into both calls: False, but True for a grid "
            "of linspace(-1, 1)"
        )
    if faults:
        return Finding("warp", WRONG, "; ".join(faults), "; ".join(mends))
    if reading.mode == "nearest":
        text = "it copies the nearest pixel, so theta gets no gradient"
        return Finding("warp", WRONG, text, 'read with mode="bilinear"')
    return Finding("warp", RIGHT, f"it reads where theta says: {sampler}")


@torch.no_grad()
def about_alone(patient: Patient) -> Finding | None:
    """Whether an image gets the same output alone as among others."""
    if len(patient.input) < 2 or draws_lots(patient):
        return None
    others = patient.input.flip(3)
    others[-1] = patient.input[-1]
    outputs = [patient.run(others)[0]]
    for head in patient.heads:  # at the start all of them may give the identity
        numbers = head.numbers + 0.2
        numbers[-1] = head.numbers[-1]
        outputs.append(patient.run(patient.input, head=(head.module, numbers))[0])
    try:
        outputs.append(patient.run(patient.input[-1:])[0])
    except (RuntimeError, ValueError, IndexError) as error:
        text = f"it takes no image alone: {error}"
        mend = "look for squeeze() and for a number of images written into view"
        return Finding("alone", NOTE, text.splitlines()[0], mend)
    apart = max((output[-1] - patient.output[-1]).abs().max() for output in outputs)
    if apart <= 1e-3 * patient.output.abs().max():
        return Finding("alone", RIGHT, "an image gets the same alone as among others")
    return Finding(
        "alone",
        WRONG,
        "an image gets another output among others than alone",
        "each theta has to come from its own image: look for a mean over the batch, "
        "and for images that change places",
    )


@torch.no_grad()
def about_background(patient: Patient) -> Finding | None:
    """What stands outside, against the border of the images."""
    if patient.theta is None or patient.off > 0:
        return None
    away = identity().to(patient.input.device)
    away[:, :, 2] = 20.0
    outside = patient.run(patient.input, away)[0].float()
    # The border as it comes out, from just inside, whatever is done to its values
    images = patient.run(patient.input, scaling(0.9).to(away))[0].float()
    rim = [images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]]
    border = torch.cat(rim, dim=2).transpose(0, 1).flatten(1)  # (C, points)
    colour = border.median(dim=1).values
    span = images.amax() - images.amin()
    near = (border - colour[:, None]).abs() < 0.1 * span
    gap = (outside.transpose(0, 1).flatten(1).median(dim=1).values - colour).abs()
    gap = gap.max() / span.clamp(min=1e-9)
    if gap < 0.1:
        return Finding("background", RIGHT, "outside stands what the border shows")
    text = f"outside stands a value {gap:.0%} of the range away from the background"
    mend = (
        "warp first and normalise after, subtract the background before the warp and "
        'add it after, or take padding_mode="border"'
    )
    plain = near.float().mean() > 0.6
    return Finding("background", WRONG if plain else NOTE, text, mend)


def about_digits(patient: Patient) -> Finding | None:
    """How exactly places are computed."""
    if patient.theta is None:
        return None
    theta, moved = patient.theta.detach(), patient.moved
    if moved is None or torch.equal(moved, theta):
        moved = torch.full_like(theta, 1 / 3)  # which half precision cannot write
    off, half = (patient.off if 0 < patient.off < 0.3 else 0.0), False
    for dtype in (torch.float16, torch.bfloat16):
        if torch.equal(moved, moved.to(dtype).to(moved)):
            side = max(patient.input.shape[2:])
            off, half = max(off, torch.finfo(dtype).eps / 4 * side / 2), True
    if off == 0:
        return Finding("digits", RIGHT, "places are computed with enough digits")
    if not half and not stepwise(patient):
        return Finding(
            "digits",
            NOTE,
            f"it reads about {off:.2f} pixels away from where theta says; a blur or an "
            "average over output pixels may be meant",
        )
    return Finding(
        "digits",
        WRONG if off > (0.02 if half else 0.005) else NOTE,
        f"places are coarse: off by about {off:.1g} pixels. Is theta or the grid in "
        "half precision, or inside autocast?",
        "compute theta's last layer, grid and places in float32, without autocast",
    )


def stepwise(patient: Patient) -> bool:
    """Whether a tiny move of theta, which float32 sees, changes nothing."""
    assert patient.theta is not None
    put = identity().to(patient.noise.device) + 0.2
    near = put + 2e-4
    with torch.no_grad():
        first, second = (patient.run(patient.noise, t)[0] for t in (put, near))
    return (first == second).float().mean().item() > 0.5


def about_outside(patient: Patient) -> Finding | None:
    """The share of points outside the image, and the images of which all are."""
    if patient.theta is None:
        return None
    theta = patient.theta.detach().float()
    size = len(theta), 1, *patient.output.shape[2:]
    away = (affine_grid(theta, size, False).abs() > 1).any(dim=3).float().mean((1, 2))
    text = f"{away.mean():.0%} of the grid's points lie outside the image"
    far = theta[:, :, 2].abs().max().item()
    pixels = "; theta counts in half images, not in pixels" if far > 3 else ""
    if (away > 0.99).any():
        blank = (away > 0.99).float().mean()
        return Finding(
            "outside",
            WRONG,
            f"for {blank:.0%} of the images the whole grid lies outside: blank, and "
            f"without a gradient (largest shift {far:.3g})",
            "no training leads back: start again with a smaller rate for the "
            f"localisation net, or bound theta{pixels}",
        )
    if away.mean() > 0.25:
        mend = f"a smaller rate for the localisation net, or a bounded theta{pixels}"
        return Finding("outside", NOTE, text, mend)
    return Finding("outside", RIGHT, text)


def about_step(patient: Patient) -> Finding | None:
    """From one output pixel to the next: how many input pixels?"""
    if patient.theta is None:
        return None
    (height, width), (h, w) = patient.input.shape[2:], patient.output.shape[2:]
    theta = patient.theta.detach().float()[:, :, :2]
    pixels = theta * theta.new_tensor([[width], [height]]) / theta.new_tensor([w, h])
    step = pixels.norm(dim=1).amax(dim=1).median().item()
    text = f"neighbours in the output read {step:.1f} pixels apart"
    if step < 1.6:
        return Finding("step", RIGHT, text)
    mend = "blur first, or make the output larger and average it down"
    return Finding("step", NOTE, f"{text}, so fine patterns alias", mend)


def about_shape(patient: Patient) -> Finding | None:
    """In images that are not square: a head that only turns, and swapped sides."""
    height, width = patient.input.shape[2:]
    if patient.theta is None or height == width:
        return None
    if patient.output.shape[2:] == (width, height):
        text = f"images of {height} x {width} come out as {width} x {height}"
        mend = "the size of a grid is (N, C, height, width), the height first"
        return Finding("shape", WRONG, text, mend)
    moved = patient.theta if patient.moved is None else patient.moved
    theta = torch.cat([patient.theta, moved]).detach().float()
    (a, b), (c, d) = theta[:, 0, :2].T, theta[:, 1, :2].T
    turned = (b.abs() > 1e-6).any()
    if not (turned and (a - d).abs().max() < 1e-5 and (b + c).abs().max() < 1e-5):
        return Finding("shape", RIGHT, "theta is no rotation in normalised coordinates")
    return Finding(
        "shape",
        WRONG,
        f"theta is a rotation in normalised coordinates, which shears an image of "
        f"{height} x {width}",
        "multiply theta's upper right number by H / W and the lower left by W / H",
    )


def about_use(patient: Patient) -> Finding | None:
    """Whether another theta changes the network's scores."""
    if patient.network is None or patient.theta is None:
        return None
    views = []
    with torch.no_grad():
        for theta in (identity(), rotation(90), scaling(0.5)):
            views.append(patient.run(patient.images, theta, whole=True)[0])
    if all(torch.equal(views[0], view) for view in views[1:]):
        return Finding(
            "use",
            WRONG,
            "the network's scores are the same whatever the transformer does",
            "hand the transformer's output to the classifier, not the images",
        )
    return Finding("use", RIGHT, "the network's scores depend on the transformer")


@torch.no_grad()
def about_modes(patient: Patient, training: Patient) -> Finding:
    """Whether the same numbers in the last layers give the same in both modes."""

    def outputs(one: Patient, seed: int) -> list[Tensor]:
        if not one.heads:
            return [one.run(one.noise, one.put, seed=seed)[0]]
        return [
            one.run(one.noise, None, (module, numbers + by), seed=seed)[0]
            for _, module, numbers in one.heads
            for by in (-0.3, 0.3)
        ]

    first, second = outputs(training, 0), outputs(training, 1)
    random = any(map(differ, first, second))
    if random or any(map(differ, first, outputs(patient, 0))):
        each = " each time" if random else ""
        return Finding(
            "modes",
            WRONG,
            "in training mode the same numbers of the last layer give another output"
            + each,
            "look for self.training, and for noise on theta, grid or output",
        )
    parts = list(patient.passing())
    last = {head.module for head in patient.heads}
    for i, part in enumerate(parts):
        if isinstance(part, RESTING) and not last & set(parts[i + 1 :]):
            return Finding(
                "modes",
                WRONG,
                f"{type(part).__name__} acts on theta's own numbers in training",
                "put it before the last layer of the localisation net",
            )
    return Finding("modes", RIGHT, "training and evaluation mode warp alike")


#: In the order of the report.
TESTS: list[Test] = [
    about_numbers,
    about_start,
    about_warp,
    about_alone,
    about_background,
    *LEARNING,
    about_digits,
    about_outside,
    about_step,
    about_shape,
    about_use,
]
