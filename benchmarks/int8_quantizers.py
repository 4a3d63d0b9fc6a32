"""Compares our Q/DQ placement with ONNX Runtime's own quantizer, on labelled images.

    python benchmarks/int8_quantizers.py --engine destseg.onnx --data DIR --name magnetic-tile

Same images, same ranges (least and largest value), so that what differs is where Q/DQ pairs go.
For TensorRT also what TensorRT-RTX compiles each file to, which needs no card.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from results import write_result  # the script's own folder is on the path

from edge_ad.calibration.quantize.compiled_layers import counted, layers_of
from edge_ad.calibration.quantize.eval_set import labelled_eval_set, predict
from edge_ad.calibration.quantize.evaluator import shared_ranges
from edge_ad.calibration.quantize.gate import figures
from edge_ad.calibration.quantize.graph_engine import GraphEngine
from edge_ad.calibration.quantize.placement import PlacementOverrides, Target, place
from edge_ad.calibration.quantize.qdq import quantize
from edge_ad.calibration.ranges.collect import collect
from edge_ad.calibration.ranges.image_set import ImageSet, choose
from edge_ad.dataset import labelled_images, normal_images
from edge_ad.engine.base import INPUT
from edge_ad.engine.tensorrt.runtimes import installed
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from edge_ad.preprocess import Preprocess

Batches = Sequence[NDArray[np.uint8]]
TENSORRT: Target = "tensorrt"
SIGNED: dict[str, Any] = {  # what TensorRT takes: symmetric int8, no integer bias
    "activation_type": QuantType.QInt8,
    "extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
}


class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no stubs
    """Hands ONNX Runtime's quantizer the same images."""

    def __init__(self, batches: Batches) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._left, None)
        return None if batch is None else {INPUT: batch}


def cut_images(images: ImageSet, manifest: Manifest) -> Batches:
    """The images as the network sees them, an image a batch."""
    cut = Preprocess(manifest.size_hw, manifest.geometry)
    return [tile[None] for image in images for tile in cut(image.image)]


def ours(graph: GraphIndex, target: Target, images: ImageSet) -> onnx.ModelProto:
    """Our Q/DQ graph with minmax ranges, as ONNX Runtime's quantizer has by default."""
    table = collect(graph, place(graph, target).tensors, target, images).table
    placement = place(graph, target, PlacementOverrides(silent=frozenset(table.silent)))
    return quantize(graph, placement, shared_ranges(placement, table, "minmax"))


def theirs(engine: Path, batches: Batches, **options: Any) -> onnx.ModelProto:
    """ONNX Runtime's static quantization: QDQ, int8 weights per channel, uint8 activations."""
    settings: dict[str, Any] = {"activation_type": QuantType.QUInt8, **options}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "theirs.onnx"
        quantize_static(
            engine,
            out,
            Reader(batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            **settings,
        )
        return onnx.load(out)


def layers(model: onnx.ModelProto) -> dict[str, int] | str:
    """What TensorRT-RTX compiles a graph to, or why it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        try:
            return counted(layers_of(path))
        except Exception as error:  # a refusal is a result
            return str(error).removeprefix(f"{path}: ")[:300]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="MVTec AD's layout.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--exam", type=int, default=400)
    wanted = parser.parse_args()
    graph = load_graph(wanted.engine)
    images = choose(normal_images(wanted.data), samples=wanted.images, synthetic=0.2)
    batches = cut_images(images, graph.manifest)
    exam = labelled_eval_set(labelled_images(wanted.data), graph.manifest, limit=wanted.exam)
    contenders: dict[str, tuple[Target, onnx.ModelProto]] = {
        "fp32": ("onnxruntime", graph.model),
        "edge-ad for onnxruntime": ("onnxruntime", ours(graph, "onnxruntime", images)),
        "onnxruntime, all operators": ("onnxruntime", theirs(wanted.engine, batches)),
        "onnxruntime, convolutions": (
            "onnxruntime",
            theirs(wanted.engine, batches, op_types_to_quantize=["Conv"]),
        ),
        "edge-ad for tensorrt": (TENSORRT, ours(graph, "tensorrt", images)),
        "onnxruntime for tensorrt, all operators": (
            TENSORRT,
            theirs(wanted.engine, batches, **SIGNED),
        ),
        "onnxruntime for tensorrt, convolutions": (
            TENSORRT,
            theirs(wanted.engine, batches, **SIGNED, op_types_to_quantize=["Conv"]),
        ),
    }
    answers = {}
    for name, (target, model) in contenders.items():
        print(name, flush=True)
        with GraphEngine(model, graph.manifest, target) as engine:
            answers[name] = predict(engine, exam.questions)
    found = {
        name: figures(exam, answers["fp32"], given).as_json() for name, given in answers.items()
    }
    compiled = {
        name: layers(model)
        for name, (target, model) in contenders.items()
        if target == TENSORRT and "tensorrt-rtx" in installed()
    }
    path = write_result(
        "int8_quantizers",
        wanted.name,
        "int8",
        metrics={
            **{f"map_error {name}": each["map_error"] for name, each in found.items()},
            "figures": found,
            "compiled": compiled,
        },
        settings={
            "images": wanted.images,
            "eval_samples": len(exam.questions),
            "method": "minmax",
            "size_hw": graph.manifest.size_hw,
        },
    )
    print(path.read_text())


if __name__ == "__main__":
    main()
