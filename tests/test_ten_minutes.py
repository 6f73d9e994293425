"""The ten-minute page: its module, copied out alone, and the record of its rates."""

import importlib.util
import inspect
import json

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
import torch.nn.functional as F
from fingerprint import ROOT
from torch import nn
from torch.testing import assert_close

PAGE = nbformat.read(ROOT / "chapters" / "ten-minutes.ipynb", as_version=4)
CODE = [cell.source for cell in PAGE.cells if cell.cell_type == "code"]
RECORD = json.loads((ROOT / "chapters" / "recorded" / "ten_minutes.json").read_text())


def cell(text):
    """The one code cell that holds a text."""
    (source,) = (source for source in CODE if text in source)
    return source


def copied(name):
    """What a cell defines, copied out alone beside the imports of PyTorch."""
    names = {"torch": torch, "nn": nn, "F": F, "__name__": "mine"}
    exec(cell(name), names)
    return names


@pytest.fixture(scope="module")
def module():
    return copied("class SpatialTransformer")["SpatialTransformer"]


def convolutional(channels):
    pooled = nn.Conv2d(channels, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4)
    return nn.Sequential(*pooled), 5 * 4 * 4


class OfMyOwn(nn.Module):
    """A body that is no Sequential, and has no last layer to be found."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 7))

    def forward(self, images):
        return images.mean((2, 3)) @ self.weight


BODIES = {
    "convolutional": lambda: convolutional(3),
    "flat": lambda: (nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), 3 * 5 * 7),
    "of my own": lambda: (OfMyOwn(), 7),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("n", [1, 3])
def test_the_module_takes_any_body(module, body, n):
    torch.manual_seed(0)
    images = torch.rand(n, 3, 20, 28)
    transformer = module(*body(), (20, 28))
    assert_close(
        transformer(images), images, atol=1e-5, rtol=0
    )  # the identity at first
    smaller = module(*body(), (5, 9))
    output = smaller(images)
    assert output.shape == (n, 3, 5, 9)
    expected = F.interpolate(images, (5, 9), mode="bilinear")
    assert_close(output, expected, atol=1e-5, rtol=0)
    output.square().sum().backward()
    assert all(p.grad is not None for p in smaller.parameters())
    assert smaller.localisation[-1].bias.grad.abs().min() > 0


def test_the_module_reads_where_theta_points(module):
    """A shift by whole pixels is a slice."""
    images = torch.rand(1, 3, 20, 28)
    transformer = module(*convolutional(3), (20, 28))
    with torch.no_grad():
        transformer.localisation[-1].bias[2] = 2 * 5 / 28  # tx: five pixels right
    assert_close(transformer(images)[..., :23], images[..., 5:], atol=1e-5, rtol=0)


def test_the_module_is_short():
    lines = cell("class SpatialTransformer").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 15


def test_both_networks_had_as_many_trials_and_the_page_takes_the_best():
    means = {}
    for trial in RECORD:
        assert len(trial["errors"]) == 3
        rates = trial["rate"], trial["share"]
        means.setdefault(trial["network"], {})[rates] = sum(trial["errors"])
    assert {name: len(each) for name, each in means.items()} == {
        "plain": 12,
        "with_transformer": 12,
    }
    options = inspect.signature(copied("def fit(")["fit"]).parameters
    rate, share = options["rate"].default, options["share"].default
    trained, rivals = means["with_transformer"], means["plain"]
    assert min(trained, key=trained.get) == (rate, share)
    assert min(rivals, key=rivals.get) == (rate, 1)


def test_the_record_is_of_the_trials_that_the_script_makes():
    path = ROOT / "benchmarks" / "ten_minutes.py"
    spec = importlib.util.spec_from_file_location("trials", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rates = [(trial["rate"], trial["share"]) for trial in RECORD]
    assert rates == [*script.PLAIN, *script.TRANSFORMER]
    with plt.rc_context():  # the page sets the book's style
        names = script.page()
    assert {"plain", "with_transformer", "distort", "fit", "digits"} <= set(names)
