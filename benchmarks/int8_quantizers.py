"""Compare edge-ad's Q/DQ placement with ONNX Runtime's quantizer, on labelled images.

    python benchmarks/int8_quantizers.py --engine destseg.onnx --data DIR --name magnetic-tile

Images and ranges (least and largest value) are the same; only the places of Q/DQ pairs differ. For
TensorRT it also reports the layers TensorRT-RTX compiles each file to, which needs no GPU.
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

from edge_ad.calibration.quantize.compiled_layers import compiled_layers, count_layers
from edge_ad.calibration.quantize.eval_set import EvalSet, labelled_eval_set, predict
from edge_ad.calibration.quantize.evaluator import shared_ranges
from edge_ad.calibration.quantize.gate import figures
from edge_ad.calibration.quantize.placement import place, to_quantize
from edge_ad.calibration.quantize.qdq import quantize
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.ranges.collect import collect
from edge_ad.calibration.ranges.graph_engine import GraphEngine
from edge_ad.calibration.ranges.image_set import CalibrationSet, choose
from edge_ad.calibration.ranges.target import Target
from edge_ad.dataset import labelled_images, normal_images
from edge_ad.engine.base import INPUT
from edge_ad.engine.tensorrt.runtimes import installed
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from edge_ad.preprocess import Preprocess

Batches = Sequence[NDArray[np.uint8]]
ONNXRUNTIME: Target = "onnxruntime"
TENSORRT: Target = "tensorrt"
Models = dict[str, tuple[Target, onnx.ModelProto]]
SIGNED: dict[str, Any] = {  # TensorRT accepts symmetric int8, no integer bias
    "activation_type": QuantType.QInt8,
    "extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
}


class BatchReader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no stubs
    """Give ONNX Runtime's quantizer the same images."""

    def __init__(self, batches: Batches) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def preprocess_images(images: CalibrationSet, manifest: Manifest) -> Batches:
    """Preprocess the images for the network, one tile per batch."""
    preprocess = Preprocess(manifest.size_hw, manifest.geometry)
    return [tile[None] for item in images for tile in preprocess(item.image)]


def by_edge_ad(graph: GraphIndex, target: Target, images: CalibrationSet) -> onnx.ModelProto:
    """Quantize with edge-ad and minmax ranges, the default of ONNX Runtime's quantizer."""
    graph = to_quantize(graph, target)
    table, _ = collect(graph, place(graph, target).tensors, target, images)
    placement = place(graph, target, PlacementOverrides(all_zero=frozenset(table.all_zero)))
    return quantize(graph, placement, shared_ranges(placement, table, "minmax"))


def by_onnxruntime(engine: Path, batches: Batches, **options: Any) -> onnx.ModelProto:
    """Quantize with ONNX Runtime, statically: QDQ, int8 weights per channel, uint8 activations."""
    settings: dict[str, Any] = {"activation_type": QuantType.QUInt8, **options}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        quantize_static(
            engine,
            out,
            BatchReader(batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            **settings,
        )
        return onnx.load(out)


def compile_layers(model: onnx.ModelProto) -> dict[str, int] | str:
    """Count the layers that TensorRT-RTX compiles a graph to, or return why it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        try:
            return count_layers(compiled_layers(path))
        except Exception as error:  # a refusal is a result
            return str(error).removeprefix(f"{path}: ")[:300]


def quantized(engine: Path, graph: GraphIndex, images: CalibrationSet) -> Models:
    """Return the fp32 graph and each quantized one, with the runtime that it is for."""
    batches = preprocess_images(images, graph.manifest)
    only = {"op_types_to_quantize": ["Conv"]}
    return {
        "fp32": (ONNXRUNTIME, graph.model),
        "edge-ad for onnxruntime": (ONNXRUNTIME, by_edge_ad(graph, ONNXRUNTIME, images)),
        "onnxruntime, all operators": (ONNXRUNTIME, by_onnxruntime(engine, batches)),
        "onnxruntime, convolutions": (ONNXRUNTIME, by_onnxruntime(engine, batches, **only)),
        "edge-ad for tensorrt": (TENSORRT, by_edge_ad(graph, TENSORRT, images)),
        "onnxruntime for tensorrt, all operators": (
            TENSORRT,
            by_onnxruntime(engine, batches, **SIGNED),
        ),
        "onnxruntime for tensorrt, convolutions": (
            TENSORRT,
            by_onnxruntime(engine, batches, **SIGNED, **only),
        ),
    }


def measure_accuracy(models: Models, manifest: Manifest, eval_set: EvalSet) -> dict[str, Any]:
    """Return the figures of each graph, compared with fp32's answers."""
    predictions = {}
    for name, (target, model) in models.items():
        print(name, flush=True)
        with GraphEngine(model, manifest, target) as engine:
            predictions[name] = predict(engine, eval_set.samples)
    return {
        name: figures(eval_set, predictions["fp32"], result).as_json()
        for name, result in predictions.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="MVTec AD's layout.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--gate-images", type=int, default=400)
    args = parser.parse_args()
    graph = load_graph(args.engine)
    images = choose(normal_images(args.data), samples=args.images, synthetic=0.2)
    models = quantized(args.engine, graph, images)
    eval_set = labelled_eval_set(labelled_images(args.data), graph.manifest, limit=args.gate_images)
    accuracy = measure_accuracy(models, graph.manifest, eval_set)
    compiled = {
        name: compile_layers(model)
        for name, (target, model) in models.items()
        if target == TENSORRT and "tensorrt-rtx" in installed()
    }
    path = write_result(
        "int8_quantizers",
        args.name,
        "int8",
        metrics={
            **{f"map_error {name}": result["map_error"] for name, result in accuracy.items()},
            "figures": accuracy,
            "compiled": compiled,
        },
        settings={
            "images": args.images,
            "eval_samples": len(eval_set.samples),
            "method": "minmax",
            "size_hw": graph.manifest.size_hw,
        },
    )
    print(path.read_text())


if __name__ == "__main__":
    main()
