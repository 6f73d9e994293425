"""Try the peak of the learning rate on CNN and ST-CNN alike (chapter 6).

One recipe trains every network of the table. ``python tools/try_rates.py`` asks if that
favours one of the twins: it trains both on R, RTS and P at three rates, with 300,000
images and seed 0, and prints the errors on the validation digits. Those that chapter 6
shows are in ``chapters/recorded/trials.json``.
"""

from stn_tutorial import benchmark
from stn_tutorial.networks import build
from stn_tutorial.records import new_network
from stn_tutorial.training import Recipe, train

RATES = (0.05, 0.1, 0.2)


def validation_error(model: str, distortion: str, rate: float, images: int) -> float:
    """The error in per cent after a training that never sees the test digits."""
    digits, held = benchmark.load("mnist"), benchmark.VALIDATION["mnist"]
    x, y = digits.train_images, digits.train_labels
    history = train(
        new_network(build, model, distortion, seed=0),
        x[:-held],
        y[:-held],
        distortion,
        Recipe(images, rate=rate),
        benchmark.distorted(x[-held:], y[-held:], distortion, draws=1, seed=2),
    )
    return history.error[-1]


if __name__ == "__main__":
    for model in ("cnn", "st-cnn-affine"):
        for distortion in ("R", "RTS", "P"):
            for rate in RATES:
                error = validation_error(model, distortion, rate, images=300_000)
                print(f"{model:13} {distortion:3} {rate:4} {error:.2f}%", flush=True)
