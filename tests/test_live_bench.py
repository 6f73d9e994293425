"""Live: what the page computes of a photograph is what the package computes."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from javascript import SOURCE, run
from safetensors.torch import load_file
from torch.testing import assert_close
from traitlets import TraitError

from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.paper import SIDE, paper_photos, read_paper
from stn_tutorial.files import RECORDED
from stn_tutorial.widgets import LiveBench
from stn_tutorial.widgets.draw_and_straighten import WEIGHTS, trained_network
from stn_tutorial.widgets.live_bench import GRAPH, PHOTOGRAPHED

PAPER, BENCH = SOURCE / "digit" / "paper.js", SOURCE / "live" / "bench.js"
# A photograph and the weights travel to Node as numbers.
READ = f"""
import {{ forward, readWeights }} from "{(SOURCE / "digit" / "network.js").as_uri()}";
import {{ inOneRow }} from "{BENCH.as_uri()}";
import {{ greyOf, readPaper, turned }} from "{PAPER.as_uri()}";
export const read = (grey) => readPaper(Float64Array.from(grey));
export const grey = (rgba) => greyOf(Uint8ClampedArray.from(rgba));
const size = {{ channels: 1, height: {SIDE}, width: {SIDE} }};
export const turn = (data, angle) => turned({{ ...size, data }}, angle);
const weightsIn = (bytes) => readWeights(Uint8Array.from(bytes));
export const row = (bytes) => inOneRow(weightsIn(bytes));
export const answers = (bytes, photos) => photos.map((grey) =>
  forward(weightsIn(bytes), read(grey).image));
"""


@pytest.fixture(scope="module")
def photos():
    """Ten photographs of digits, with thin and thick pens."""
    images = load_digits().test_images
    draw = torch.Generator().manual_seed(0)
    made = [paper_photos(images[i::90][:2], draw, pen=i + 2) for i in range(5)]
    return torch.cat(made).double()


def test_ink_is_told_from_paper_as_in_the_package(photos):
    empty = paper_photos(torch.zeros(1, 1, 28, 28), torch.Generator().manual_seed(0))
    sheets = torch.cat([photos, torch.ones(1, 1, SIDE, SIDE), empty, 0 * empty])
    read = run(READ, "read", [[sheet.flatten().tolist()] for sheet in sheets])
    images = torch.tensor([each["image"]["data"] for each in read]).double()
    assert_close(images, read_paper(sheets.double()).flatten(1), atol=1e-6, rtol=0)
    assert [each["ink"] for each in read] == 10 * [True] + 3 * [False]


def test_a_colour_has_the_grey_that_pillow_gives_it():
    rgba = [[255, 255, 255, 255], [0, 0, 0, 255], [200, 100, 50, 255]]
    (grey,) = run(READ, "grey", [[sum(rgba, [])]])
    assert grey == pytest.approx([1, 0, (0.299 * 200 + 0.587 * 100 + 5.7) / 255])


def test_the_page_computes_what_pytorch_does(photos):
    """From the photograph to the scores, to 1e-5."""
    network = trained_network().double()
    with torch.inference_mode():
        images = read_paper(photos)
        straight, theta = network.straighten(images)
        scores = network.classifier(straight)
    call = [list(WEIGHTS.read_bytes()), photos.flatten(1).tolist()]
    (answers,) = run(READ, "answers", [call])
    for name, wanted in (("theta", theta), ("straight", straight), ("scores", scores)):
        read = [a[name]["data"] if name == "straight" else a[name] for a in answers]
        difference = torch.tensor(read).double() - wanted.flatten(1)
        assert difference.abs().max() < 1e-5, name


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The figure's ONNX file with the weights that the page lays beside it."""
    folder = tmp_path_factory.mktemp("onnx")
    (row,) = run(READ, "row", [[list(WEIGHTS.read_bytes())]])
    (folder / "weights.bin").write_bytes(bytes(row))
    (folder / "net.onnx").write_bytes(GRAPH.read_bytes())
    return onnxruntime.InferenceSession(folder / "net.onnx")


@pytest.mark.parametrize("n", [1, 2, 10])
def test_the_onnx_file_is_the_same_network(session, photos, n):
    network = trained_network()
    images = read_paper(photos[:n].float())
    with torch.inference_mode():
        straight, theta = network.straighten(images)
        wanted = theta, straight, network.classifier(straight)
    names = ["theta", "straight", "scores"]
    found = session.run(names, {"images": images.numpy()})
    for name, ours, theirs in zip(names, wanted, found, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-5, name


def test_the_onnx_file_holds_no_weights_and_uses_each():
    model = onnx.load(GRAPH, load_external_data=False)
    shapes = {w.name: list(w.dims) for w in model.graph.initializer}
    wanted = load_file(WEIGHTS)
    assert shapes == {f"network.{n}": list(t.shape) for n, t in wanted.items()}
    assert not any(w.raw_data for w in model.graph.initializer)
    (opset,) = model.opset_import
    record = json.loads((RECORDED / "export.json").read_text())
    assert opset.version == record["opset"]
    assert record["bytes"]["graph"] == GRAPH.stat().st_size
    assert record["bytes"]["weights"] == WEIGHTS.stat().st_size


def test_how_far_lists_of_numbers_are_apart():
    cases = [[[1, 2], [1, 2.5]], [[1], [1, 2]], [[1, None], [1, 2]]]
    assert run(BENCH, "apart", cases) == [0.5, None, 2]  # JSON has no NaN: null


@pytest.mark.parametrize("photo", range(len(PHOTOGRAPHED)))
def test_each_photograph_is_read_rightly(photo):
    figure = LiveBench("x", photo=photo)
    with torch.inference_mode():
        scores = trained_network()(read_paper(figure.picture()[None]))
    assert scores.argmax() == figure.labels[photo]
    assert scores.softmax(1).max() > 0.9


def test_the_paper_is_turned_as_in_python():
    figure = LiveBench("x", photo=1)
    flat = (figure.picture().flatten()).tolist()
    for angle in (-90, -33, 0, 71.5):
        (turned,) = run(READ, "turn", [[flat, angle]])
        wanted = LiveBench("x", photo=1, angle=angle).picture().flatten()
        assert turned["data"] == pytest.approx(wanted.tolist(), abs=1e-5)


def test_turned_by_the_trainings_angles_the_paper_is_still_read():
    answers = []
    for angle in (-30, -15, 0, 15, 30):
        image = read_paper(LiveBench("x", angle=angle).picture()[None])
        with torch.inference_mode():
            answers.append(trained_network()(image).argmax().item())
    assert answers.count(3) >= 3


@pytest.mark.parametrize("angle", [-91, 90.5, float("nan")])
def test_an_angle_out_of_range_is_refused(angle):
    with pytest.raises(TraitError, match="angle to be from -90 to 90"):
        LiveBench("x", angle=angle)


@pytest.mark.parametrize("photo", [-1, len(PHOTOGRAPHED)])
def test_a_photograph_that_is_not_there_is_refused(photo):
    figure = LiveBench("x")
    with pytest.raises(TraitError, match=f"photo to be from 0 to 1, but got {photo}"):
        figure.photo = photo
    assert figure.photo == 0
