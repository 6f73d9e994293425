"""What leaves PyTorch, and what it costs: chapter 11's record.

    python benchmarks/export.py             print it, in half a minute
    python benchmarks/export.py --record    and keep it, with the figure's ONNX file

The network is the one of "Draw and straighten". Of the ONNX file only the graph is
kept: its weights are those of drawing-net.safetensors, in single precision, one after
the other by their names' order.
"""

import argparse
import json
import logging
import platform
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime import quantization
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from stn_tutorial.affine import affine_grid, identity
from stn_tutorial.data.digits import load_digits
from stn_tutorial.distortions import distort
from stn_tutorial.files import RECORDED
from stn_tutorial.interpolation import warp
from stn_tutorial.transformer import SpatialTransformer
from stn_tutorial.warps import control_points, projective_grid, thin_plate_spline_grid
from stn_tutorial.widgets.draw_and_straighten import WEIGHTS, trained_network

OPSET = 18
OUTPUTS = ["theta", "straight", "scores"]
GRAPH = RECORDED / "drawing-net.onnx"
RECORD = RECORDED / "export.json"


class Whole(nn.Module):
    """The network, with all that it makes of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.network = trained_network()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give theta, the straightened images, and the scores."""
        straight, theta = self.network.straighten(images)
        return theta, straight, self.network.classifier(straight)


def exported(module: nn.Module) -> ExportedProgram:
    """A network whose batch is free, as torch.export writes it down."""
    return export(
        module.eval(),
        (torch.rand(2, 1, 42, 42),),
        dynamic_shapes=({0: Dim.DYNAMIC},),
    )


def to_onnx(
    program: ExportedProgram, outputs: list[str], optimize: bool = True
) -> onnx.ModelProto:
    """The same as an ONNX file, its weights inside."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            optimize=optimize,
            input_names=["images"],
            output_names=outputs,
        )
    return made.model_proto


def without_weights(model: onnx.ModelProto) -> bytes:
    """An ONNX file that names where each of its weights stands in weights.bin."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    graph.graph.ClearField("value_info")
    for holder in (graph, graph.graph, *graph.graph.node, *graph.graph.input):
        holder.ClearField("metadata_props")
    for node in graph.graph.node:
        node.ClearField("doc_string")
    place, places = 0, {}
    for name, tensor in sorted(load_file(WEIGHTS).items()):
        places[f"network.{name}"] = place
        place += 4 * tensor.numel()
    for weight in graph.graph.initializer:
        start = places.pop(weight.name)
        length = 4 * int(np.prod(weight.dims))
        weight.ClearField("raw_data")
        weight.ClearField("metadata_props")
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {
            "location": "weights.bin",
            "offset": start,
            "length": length,
        }.items():
            weight.external_data.add(key=key, value=str(value))
    if places:
        raise ValueError(f"expected a place in the graph for each weight: {places}")
    return graph.SerializeToString(deterministic=True)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Run a model in onnxruntime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def milliseconds(call) -> float:
    """The least time of a call, of 50."""
    times = []
    for _ in range(50):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


class Calibration(quantization.CalibrationDataReader):
    """Training digits by which activations get their ranges."""

    def __init__(self, images: Tensor) -> None:
        self.batches = iter(images.split(50))

    def get_next(self) -> dict | None:
        """Give the next batch, or None."""
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}


def in_int8(model: onnx.ModelProto, images: Tensor, keep: set[str]) -> onnx.ModelProto:
    """Weights and activations in 8 bits, but for the nodes to keep.

    Convolutions and matrix products are what is quantised.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, ready, small = (Path(folder, f"{n}.onnx") for n in "abc")
        onnx.save(model, whole)
        quantization.quant_pre_process(whole, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            small,
            Calibration(images),
            per_channel=True,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            nodes_to_exclude=sorted(keep),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(small)


def nodes_of(model: onnx.ModelProto, before: str) -> set[str]:
    """Name the nodes on which an output depends."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found, waiting = {}, [before]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in found:
            found[node.name] = node
            waiting += node.input
    return set(found)


def in_pixels(theta: Tensor, other: Tensor) -> Tensor:
    """How far apart the points of two grids are in the 42x42 input, for each image."""
    grids = [
        affine_grid(t, (len(t), 1, 28, 28), align_corners=False) for t in (theta, other)
    ]
    return 21 * (grids[0] - grids[1]).norm(dim=-1).flatten(1).mean(1)


def transformer(warp_name: str) -> SpatialTransformer:
    """A small one whose localisation net answers differently to each image."""
    torch.manual_seed(0)
    grid_generator, start = {
        "affine": (affine_grid, identity()),
        "projective": (projective_grid, torch.eye(3).flatten()[:8][None]),
        "spline": (thin_plate_spline_grid, control_points()[None]),
    }[warp_name]
    last = nn.Linear(2, start.numel())
    last.bias.data.copy_(start.flatten())
    localisation = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        last,
        nn.Unflatten(1, start.shape[1:]),
    )
    made = SpatialTransformer(
        localisation,
        out_size=(28, 28),
        grid_generator=grid_generator,
        sampler=nn.functional.grid_sample,
    )
    return made.eval()


def ways_out(images: Tensor) -> dict[str, dict[str, float]]:
    """For each warp and way, the largest difference from the module, batch 5."""
    table: dict[str, dict[str, float]] = {}
    for name in ("affine", "projective", "spline"):
        module = transformer(name)
        program = exported(module)
        runs = session(to_onnx(program, ["output"]))
        wanted = module(images)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = {
                "TorchScript": torch.jit.trace(module, images[:2])(images),
                "torch.export": program.module()(images),
                "onnxruntime": torch.from_numpy(
                    runs.run(["output"], {"images": images.numpy()})[0]
                ),
            }
        table[name] = {
            way: float((wanted - result).abs().max()) for way, result in results.items()
        }
    return table


def apart(ours: tuple[Tensor, ...], theirs) -> dict[str, float]:
    """The largest difference in each of the outputs."""
    pairs = zip(OUTPUTS, ours, theirs, strict=True)
    return {name: float((a - torch.as_tensor(b)).abs().max()) for name, a, b in pairs}


def how_far(theta: Tensor, other: Tensor) -> dict[str, float]:
    """By how many pixels of 42 the grids' points are off, as means of images."""
    away = in_pixels(theta, other)
    return {
        "mean": float(away.mean()),
        "95%": float(away.quantile(0.95)),
        "largest": float(away.max()),
    }


@torch.no_grad()
def measure() -> dict:
    """All numbers of the record."""
    torch.set_num_threads(1)
    digits = load_digits()
    images = distort(digits.test_images, "RTS", torch.Generator().manual_seed(0))
    train = distort(digits.train_images[:400], "RTS", torch.Generator().manual_seed(1))
    whole = Whole().eval()
    program = exported(whole)
    model = to_onnx(program, OUTPUTS)
    runs = session(model)

    def in_onnxruntime(some: Tensor, runs: onnxruntime.InferenceSession = runs) -> list:
        return runs.run(OUTPUTS, {"images": some.numpy()})

    theta, _, scores = whole(images)
    one = images[:1]
    record: dict = {
        "versions": versions(),
        "opset": OPSET,
        "images": len(images),
        "differences": {
            str(n): {
                "torch.export": apart(whole(images[:n]), program.module()(images[:n])),
                "onnxruntime": apart(whole(images[:n]), in_onnxruntime(images[:n])),
            }
            for n in (1, 7, len(images))
        },
        "ms": {
            "PyTorch": milliseconds(lambda: whole(one)),
            "onnxruntime": milliseconds(lambda: in_onnxruntime(one)),
        },
        "bytes": {
            "onnx": len(model.SerializeToString()),
            "graph": GRAPH.stat().st_size,
            "weights": WEIGHTS.stat().st_size,
        },
        "error": error(scores, digits.test_labels),
        "int8": {},
        "ways": ways_out(images[:5]),
    }
    for name, keep in {
        "classifier": nodes_of(model, "theta"),
        "everything": set(),
    }.items():
        small = in_int8(model, train, keep)
        runs = session(small)
        other, _, answers = map(torch.from_numpy, in_onnxruntime(images, runs))
        record["int8"][name] = {
            "bytes": len(small.SerializeToString()),
            "error": error(answers, digits.test_labels),
            "pixels": how_far(theta, other),
            "ms": milliseconds(lambda runs=runs: in_onnxruntime(one, runs)),
        }
    # The float32 net's theta alone, each number rounded to 255 steps of its range.
    low, high = theta.amin(0), theta.amax(0)
    step = (high - low) / 255
    rounded = ((theta - low) / step).round() * step + low
    seen = nn.functional.avg_pool2d(warp(images, rounded, size=(56, 56)), 2)
    record["int8"]["theta alone"] = {
        "error": error(whole.network.classifier(seen), digits.test_labels),
        "pixels": how_far(theta, rounded),
    }
    return record


def error(scores: Tensor, labels: Tensor) -> float:
    """The share of wrong answers in per cent."""
    return float(100 * (scores.argmax(1) != labels).float().mean())


def versions() -> dict[str, str]:
    """What the numbers depend on."""
    return {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "machine": platform.machine(),
    }


def main() -> None:
    """Measure, print, and keep what is to be kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="keep it in the book")
    options = parser.parse_args()
    graph = without_weights(to_onnx(exported(Whole()), OUTPUTS, optimize=False))
    if options.record:
        GRAPH.write_bytes(graph)
    record = json.dumps(measure(), indent=1) + "\n"
    print(record)
    if options.record:
        RECORD.write_text(record, "utf-8")


if __name__ == "__main__":
    main()
