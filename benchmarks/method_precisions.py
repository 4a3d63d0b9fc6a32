"""Speed and accuracy of one trained detector in every precision."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from commands import CommandFailed, edge_ad  # the script's own folder is on the path

from edge_ad.dataset import labelled_images
from edge_ad.engine import EngineOptions, open_engine
from edge_ad.images import read_image
from edge_ad.preprocess import Preprocess

SHOWN = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "iap", "iap90", "normal", "anomalous")
GATE_FAILED = 4
TIMED = 60

Failures = dict[str, str]


def measure_precisions(
    fp32: Path, data: Path, others: Sequence[str], fp32_figures: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return metrics and raw samples of an fp32 engine and of the others made from it.

    Ranges, gate and threshold come from the training images; test images are evaluated alone.
    """
    failures: Failures = {}
    engines, accuracy, report = {"fp32": fp32}, {"fp32": fp32_figures}, None
    if "fp16" in others:
        _noted(failures, "fp16", partial(_fp16, fp32, data, engines))
    if "int8" in others:
        report = _noted(failures, "int8", partial(_int8, fp32, data, engines, failures))
    for name in engines.keys() - {"fp32"}:
        measured = _noted(failures, f"evaluate {name}", partial(accuracy_of, engines[name], data))
        accuracy[name] = measured or {}
    times = times_ms(engines, data)
    rows = {
        name: {**accuracy[name], "engine_ms": median(times[name]), "bytes": engine.stat().st_size}
        for name, engine in engines.items()
    }
    metrics = {"precisions": rows, "failures": failures, "int8": report}
    return metrics, {f"{name}_ms": samples for name, samples in times.items()}


def accuracy_of(engine: Path, data: Path) -> dict[str, Any]:
    """Return the figures of an engine or weights file on a labelled data set."""
    measured = edge_ad("evaluate", str(engine), "--data", str(data))
    kinds = {kind: row["image_auroc"] for kind, row in measured["by_type"].items()}
    return {name: measured[name] for name in SHOWN} | {"image_auroc_by_type": kinds}


def _fp16(fp32: Path, data: Path, engines: dict[str, Path]) -> None:
    engine = fp32.with_suffix(".fp16.onnx")
    words = ["convert", str(fp32), "-o", str(engine), "--precision", "fp16", "--images", str(data)]
    edge_ad(*words)
    engines["fp16"] = engine


def _int8(fp32: Path, data: Path, engines: dict[str, Path], failures: Failures) -> dict[str, Any]:
    """Calibrate; return the gate's result, the range method and the blocks that stay in float."""
    engine = fp32.with_suffix(".int8.onnx")
    words = ["calibrate", str(fp32), "--images", str(data), "--samples", "128", "-o", str(engine)]
    try:
        report = edge_ad(*words)
        engines["int8"] = engine
    except CommandFailed as failed:
        if failed.code != GATE_FAILED or not failed.stdout.strip():
            raise
        report = json.loads(failed.stdout.splitlines()[0])
        failures["int8"] = f"gate not passed: {report['gate'].get('failures')}"
    kept = ("passed", "method", "gate", "float_blocks", "int8_nodes", "bytes", "threshold")
    return {name: report.get(name) for name in kept}


def times_ms(engines: dict[str, Path], data: Path) -> dict[str, list[float]]:
    """Return the processor time of every call with one image, alternating between precisions.

    With one thread that is what an idle core takes; a busy machine changes it little.
    """
    image = read_image(labelled_images(data)[0].path)
    times: dict[str, list[float]] = {name: [] for name in engines}
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(open_engine(path, EngineOptions(threads=1)))
            for name, path in engines.items()
        }
        manifest = opened["fp32"].manifest
        batch = Preprocess(manifest.size_hw, manifest.geometry)(image)[:1]
        for run in range(TIMED + 3):
            for name, engine in opened.items():
                began = time.process_time()
                engine.infer(batch)
                if run >= 3:  # the first calls warm up
                    times[name].append((time.process_time() - began) * 1e3)
    return times


def _noted(failures: Failures, stage: str, work: Callable[[], Any]) -> Any:
    """Return the result of `work`; None, and an entry in `failures`, when it fails."""
    try:
        return work()
    except Exception as error:
        failures[stage] = str(error)
        print(f"{stage} failed: {error}", file=sys.stderr)
        return None
