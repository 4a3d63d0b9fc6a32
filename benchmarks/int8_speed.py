"""Measures int8 against fp32 on ONNX Runtime, and our placement against its own quantizer.

    python benchmarks/int8_speed.py --engine destseg.onnx --images GOOD_DIR --name random-weights

All graphs run in turn in one process, so that whatever else the machine does hits all of them.
Processor time (all threads, none of them spinning while it waits) is what a busy machine still
measures well; two cores that work evenly take half of it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from results import write_result  # the script's own folder is on the path

from edge_ad.calibration.collect import collect
from edge_ad.calibration.exam import synthetic_exam
from edge_ad.calibration.gate import map_error
from edge_ad.calibration.graph import Graph, load_graph
from edge_ad.calibration.pictures import choose
from edge_ad.calibration.placement import Target, Wanted, place
from edge_ad.calibration.qdq import quantize
from edge_ad.calibration.simulate import open_session
from edge_ad.calibration.trials import shared_ranges
from edge_ad.dataset import good_images
from edge_ad.engine.base import INPUT, MAP, SCORE


class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no stubs
    """Hands ONNX Runtime's quantizer the same pictures."""

    def __init__(self, batches: list[NDArray[np.uint8]]) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._left, None)
        return None if batch is None else {INPUT: batch}


def ours(graph: Graph, target: Target, images: Path, count: int) -> onnx.ModelProto:
    """Our Q/DQ graph with minmax ranges, as ONNX Runtime's quantizer has by default."""
    pictures = choose(good_images(images), samples=count)
    table = collect(graph, place(graph, target).tensors, target, pictures).table
    placement = place(graph, target, Wanted(silent=frozenset(table.silent)))
    return quantize(graph, placement, shared_ranges(placement, table, "minmax"))


def theirs(
    engine: Path, batches: list[NDArray[np.uint8]], ops: list[str] | None
) -> onnx.ModelProto:
    """ONNX Runtime's own static quantization: QDQ, uint8 activations, int8 weights per channel."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "theirs.onnx"
        quantize_static(
            engine,
            out,
            Reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=ops,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(out)


def timed(
    models: dict[str, onnx.ModelProto], batch: Any, runs: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of every run by the clock and of the processors, the graphs in turn."""
    sessions = {name: patient_session(model) for name, model in models.items()}
    clock: dict[str, list[float]] = {name: [] for name in sessions}
    cores: dict[str, list[float]] = {name: [] for name in sessions}
    for run in range(runs + 1):
        for name, session in sessions.items():
            began, busy = time.perf_counter(), time.process_time()
            session.run([MAP, SCORE], {INPUT: batch})
            if run:  # the first run warms up
                clock[name].append(1000 * (time.perf_counter() - began))
                cores[name].append(1000 * (time.process_time() - busy))
    return clock, cores


def patient_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """Two threads that sleep while they wait."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def errors(models: dict[str, onnx.ModelProto], batches: list[Any]) -> dict[str, float]:
    """Every graph's map error against fp32."""
    maps = {}
    for name, model in models.items():
        session = open_session(model, threads=2)
        maps[name] = [session.run([MAP], {INPUT: batch})[0] for batch in batches]
    return {name: map_error(maps["fp32"], found) for name, found in maps.items()}


def contenders(
    engine: Path, images: Path, count: int, *, with_theirs: bool
) -> Iterator[tuple[str, onnx.ModelProto]]:
    graph = load_graph(engine)
    yield "fp32", graph.model
    yield "edge-ad for onnxruntime", ours(graph, "onnxruntime", images, count)
    if not with_theirs:
        return
    yield "edge-ad for tensorrt", ours(graph, "tensorrt", images, count)
    exam = synthetic_exam(good_images(images)[:count], graph.manifest, limit=count, seed=0)
    batches = [question.batch for question in exam.questions]
    yield "onnxruntime, all operators", theirs(engine, batches, None)
    yield "onnxruntime, convolutions", theirs(engine, batches, ["Conv"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--only-onnxruntime", action="store_true", help="fp32 and our flavour.")
    wanted = parser.parse_args()
    models = dict(
        contenders(
            wanted.engine, wanted.images, wanted.pictures, with_theirs=not wanted.only_onnxruntime
        )
    )
    manifest = load_graph(wanted.engine).manifest
    exam = synthetic_exam(good_images(wanted.images)[-16:], manifest, limit=16, seed=1)
    batches = [question.batch for question in exam.questions]
    samples, cores = timed(models, batches[0], wanted.runs)
    medians = {name: float(np.median(found)) for name, found in samples.items()}
    fastest = {name: float(np.min(found)) for name, found in samples.items()}
    busy = {name: float(np.median(found)) for name, found in cores.items()}
    path = write_result(
        "int8_speed",
        wanted.name,
        "int8",
        metrics={
            "times_faster": medians["fp32"] / medians["edge-ad for onnxruntime"],
            "times_less_processor_time": busy["fp32"] / busy["edge-ad for onnxruntime"],
            "load_average": os.getloadavg()[0],
            "processor_ms": busy,
            "median_ms": medians,
            "fastest_ms": fastest,
            "throughput_over_fp32": {n: medians["fp32"] / ms for n, ms in medians.items()},
            "throughput_over_fp32_fastest": {n: fastest["fp32"] / ms for n, ms in fastest.items()},
            "map_error": errors(models, batches),
            "bytes": {name: model.ByteSize() for name, model in models.items()},
        },
        settings={
            "threads": 2,
            "runs": wanted.runs,
            "size_hw": manifest.size_hw,
            "method": "minmax",
            "pictures": wanted.pictures,
        },
        samples={"clock_ms": samples, "processor_ms": cores},
    )
    print(path.read_text()[:1500])


if __name__ == "__main__":
    main()
