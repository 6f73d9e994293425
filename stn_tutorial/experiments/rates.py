"""Try the peak of the learning rate on CNN and ST-CNN alike (chapter 6).

One recipe trains every network of the table. This asks if that favours one of the
twins. Those trials that chapter 6 shows are in ``trials.json``, among the records.
"""

from stn_tutorial.experiments.records import new_network
from stn_tutorial.experiments.table1 import distorted, split_digits
from stn_tutorial.networks import table_network
from stn_tutorial.training import Recipe, train

RATES = (0.05, 0.1, 0.2)


def validation_error(model: str, distortion: str, rate: float, images: int) -> float:
    """Train with a peak rate, and return the validation error in per cent.

    The test digits are never seen.
    """
    digits, held = split_digits("mnist")
    history = train(
        new_network(table_network, model, distortion, seed=0),
        digits.train_images,
        digits.train_labels,
        distortion,
        Recipe(images, rate=rate),
        validation=distorted(*held, distortion, draws=1, seed=2),
    )
    return history.error[-1]


def try_rates() -> None:
    """Train both on R, RTS and P at three rates, with 300,000 images and seed 0.

    The errors on the validation digits are printed.
    """
    for model in ("cnn", "st-cnn-affine"):
        for distortion in ("R", "RTS", "P"):
            for rate in RATES:
                error = validation_error(model, distortion, rate, images=300_000)
                print(f"{model:13} {distortion:3} {rate:4} {error:.2f}%", flush=True)
