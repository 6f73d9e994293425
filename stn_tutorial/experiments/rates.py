"""Try the peak of the learning rate on CNN and ST-CNN alike (chapter 6).

One recipe trains every network of the table. This asks if that favours one of the
twins. Those trials that chapter 6 shows are in ``trials.json``, among the records.
"""

from stn_tutorial.experiments.records import new_network
from stn_tutorial.experiments.table1 import VALIDATION, distorted, load_by_name
from stn_tutorial.networks import table_network
from stn_tutorial.training import Recipe, train

RATES = (0.05, 0.1, 0.2)


def validation_error(model: str, distortion: str, rate: float, images: int) -> float:
    """The error in per cent after a training that never sees the test digits."""
    digits, held = load_by_name("mnist"), VALIDATION["mnist"]
    x, y = digits.train_images, digits.train_labels
    history = train(
        new_network(table_network, model, distortion, seed=0),
        x[:-held],
        y[:-held],
        distortion,
        Recipe(images, rate=rate),
        distorted(x[-held:], y[-held:], distortion, draws=1, seed=2),
    )
    return history.error[-1]


def main() -> None:
    """Train both on R, RTS and P at three rates, with 300,000 images and seed 0.

    Prints the errors on the validation digits; the test digits are never seen.
    """
    for model in ("cnn", "st-cnn-affine"):
        for distortion in ("R", "RTS", "P"):
            for rate in RATES:
                error = validation_error(model, distortion, rate, images=300_000)
                print(f"{model:13} {distortion:3} {rate:4} {error:.2f}%", flush=True)
