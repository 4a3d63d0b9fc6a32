"""Train and measure every method with its edge preset at 128x128 on the same data and time.

    python benchmarks/bench_methods.py --data line --minutes 25 [--methods draem,pmb]
    python benchmarks/bench_methods.py --data magnetic_tile --shared ../shared --minutes 25
    python benchmarks/bench_methods.py --data line --methods pmb --steps 2800 --stage train
    python benchmarks/bench_methods.py --data line --stage measure      (weights are there already)

`line` is the synthetic line, generated from its seed and cropped to the plates' lane. Training
leaves weights in --out; measuring exports them, converts to fp16, calibrates int8 for ONNX Runtime
and evaluates and times the engines. On a busy machine give --steps, since minutes would mean fewer
steps; the result file has the processor minutes. A stage that fails is noted in the result file,
and the others continue. One result file per method and data set.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from results import write_result  # the script's own folder is on the path

from edge_ad.dataset import labelled_images
from edge_ad.engine import open_engine
from edge_ad.files import write_text
from edge_ad.images import read_image
from edge_ad.methods.registry import METHODS, method_entry
from edge_ad.preprocess import Preprocess
from edge_ad.sample.dataset import write_dataset

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "iap", "iap90", "normal", "anomalous")
TRAINED = ("minutes", "processor_minutes", "steps", "parameters", "gflops")
SETTINGS = ("settings", "seed", "threads", "arithmetic", "size_hw", "geometry", "textures",
            "budget_minutes")  # fmt: skip
TEACHERS = {"resnet18": "resnet18_imagenet_stem_to_layer3.pth"}
LANE = ("--roi", "72,54,176,132")  # where plates pass
GATE_FAILED = 4
TIMED = 60

Failures = dict[str, str]


class CommandFailed(Exception):
    """A command ended with another exit code than 0; `code` and its standard output."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        super().__init__(f"exit code {code}: {stderr.strip()[-800:]}")
        self.code, self.stdout = code, stdout


def edge_ad(*words: str) -> dict[str, Any]:
    """Run one of the project's commands and return the JSON object it prints."""
    run = [sys.executable, "-m", "edge_ad", *words, "--json"]
    done = subprocess.run(run, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(done.returncode, done.stdout, done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def train(method: str, weights: Path, data: Path, options: argparse.Namespace) -> None:
    """Train the edge preset for the given time; its report is beside the weights."""
    words = ["--method", method, "--preset", "edge", "--size", "128", "--device", "cpu"]
    words += ["--data", str(data), "--seed", str(options.seed), "--threads", str(options.threads)]
    words += ["--arithmetic", options.arithmetic]
    if options.steps:
        words += ["--steps", str(options.steps)]
    else:
        words += ["--budget-minutes", str(options.minutes)]
    words += LANE if options.data == "line" else ["--textures", str(_shared(options, "textures"))]
    if teacher := method_entry(method).edge_teacher:
        words += ["--teacher", str(_shared(options, "weights") / TEACHERS[teacher])]
    for assigned in options.set:
        words += ["--set", assigned]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    edge_ad("train", *words, "-o", str(weights))
    _note_processor_time(weights, before)


def _note_processor_time(weights: Path, before: resource.struct_rusage) -> None:
    """Add the processor minutes of the training, which do not depend on the load, to its report."""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    path = weights.with_suffix(".report.json")
    report = json.loads(path.read_text(encoding="utf-8"))
    write_text(path, json.dumps(report | {"processor_minutes": seconds / 60}, indent=1))


def measure(weights: Path, data: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return metrics and raw samples of a trained method in each precision that it reached."""
    failures: Failures = {}
    engines = _engines(weights, data, failures)
    report = _noted(failures, "int8", partial(_int8, engines["fp32"], data, failures))
    if "int8" not in failures:
        engines["int8"] = _named(weights, "int8")
    accuracy: dict[str, Any] = {}
    for name, engine in list(engines.items()):
        figures = _noted(failures, f"evaluate {name}", partial(accuracy_of, engine, data))
        if figures is not None:
            accuracy[name] = figures
    times = _times_ms(engines, data)
    rows = {
        name: {**accuracy.get(name, {}), "engine_ms": median(times[name]), "bytes": _size(engine)}
        for name, engine in engines.items()
    }
    metrics = {**rows.get("fp32", {}), "precisions": rows, "failures": failures, "int8": report}
    return metrics, {f"{name}_ms": samples for name, samples in times.items()}


def _engines(weights: Path, data: Path, failures: Failures) -> dict[str, Path]:
    """Export the fp32 engine, without which there is nothing to measure, and the fp16 one."""
    engines = {}
    for name in ("fp32", "fp16"):
        engine = _named(weights, name)
        words = ["export", str(weights), "-o", str(engine), "--precision", name]
        words += ["--images", str(data / "test" / "good")]
        _noted(failures, f"export {name}", partial(edge_ad, *words))
        if f"export {name}" not in failures:
            engines[name] = engine
    if "fp32" not in engines:
        raise SystemExit(failures["export fp32"])
    return engines


def _int8(engine: Path, data: Path, failures: Failures) -> dict[str, Any]:
    """Calibrate; return the gate's result, the range method and the blocks that stay in float."""
    words = ["calibrate", str(engine), "--images", str(data), "--test", str(data), "--samples"]
    words += ["128", "--target", "onnxruntime", "-o", str(_named(engine, "int8"))]
    try:
        report = edge_ad(*words)
    except CommandFailed as failed:
        if failed.code != GATE_FAILED or not failed.stdout.strip():
            raise
        report = json.loads(failed.stdout.splitlines()[0])
        failures["int8"] = f"gate not passed: {report['gate'].get('failures')}"
    kept = ("passed", "method", "gate", "float_blocks", "int8_nodes", "bytes", "threshold")
    return {name: report.get(name) for name in kept}


def accuracy_of(engine: Path, data: Path) -> dict[str, Any]:
    """Return the figures of an engine or weights file on a labelled data set."""
    measured = edge_ad("evaluate", str(engine), "--data", str(data))
    kinds = {kind: row["image_auroc"] for kind, row in measured["by_type"].items()}
    return {name: measured[name] for name in SHOWN} | {"image_auroc_by_type": kinds}


def _times_ms(engines: dict[str, Path], data: Path) -> dict[str, list[float]]:
    """Return the milliseconds of every call with one image, alternating between precisions."""
    image = read_image(labelled_images(data)[0].path)
    times: dict[str, list[float]] = {name: [] for name in engines}
    with ExitStack() as stack:
        opened = {name: stack.enter_context(open_engine(path)) for name, path in engines.items()}
        manifest = opened["fp32"].manifest
        batch = Preprocess(manifest.size_hw, manifest.geometry)(image)[:1]
        for run in range(TIMED + 3):
            for name, engine in opened.items():
                began = time.perf_counter()
                engine.infer(batch)
                if run >= 3:  # the first calls warm up
                    times[name].append((time.perf_counter() - began) * 1e3)
    return times


def _noted(failures: Failures, stage: str, work: Callable[[], Any]) -> Any:
    """Return the result of `work`; None, and an entry in `failures`, when it fails."""
    try:
        return work()
    except Exception as error:
        failures[stage] = str(error)
        print(f"{stage} failed: {error}", file=sys.stderr)
        return None


def _named(weights: Path, precision: str) -> Path:
    stem = weights.name.split(".")[0]
    return weights.with_name(f"{stem}.{precision}.onnx")


def _size(engine: Path) -> int:
    return engine.stat().st_size


def _shared(options: argparse.Namespace, name: str) -> Path:
    return Path(options.shared / "data" / name)


def _data(options: argparse.Namespace) -> Path:
    if options.data != "line":
        return _shared(options, options.data)
    folder = Path(options.out / "line")
    if not folder.exists():
        _write_line(folder)
    return folder


def _write_line(folder: Path) -> None:
    """Write the data set and rename it when it is complete: two runs may start at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent))
    write_dataset(new, train=200, normal=50, per_kind=25, size_wh=(320, 240))
    try:
        new.rename(folder)
    except OSError:  # the other one was first
        shutil.rmtree(new)


def _save(weights: Path, method: str, options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """Measure one method's weights and write its result file."""
    report = json.loads(weights.with_suffix(".report.json").read_text(encoding="utf-8"))
    metrics, samples = measure(weights, data)
    metrics |= {"data": options.data, **{name: report.get(name) for name in TRAINED}}
    metrics |= {"held_back": report["choice"].get("measured"), "load_average": os.getloadavg()[0]}
    settings = {"method": method, **{name: report[name] for name in SETTINGS}}
    write_result(
        "methods", f"{method}-{options.data}", "all",
        metrics=metrics, settings=settings, samples=samples,
    )  # fmt: skip
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="line")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--steps", type=int, help="In place of --minutes, on a busy machine.")
    parser.add_argument("--stage", choices=["all", "train", "measure"], default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arithmetic", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--set", action="append", default=[], help="A setting of the method.")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "methods")
    options = parser.parse_args()
    data = _data(options)
    for method in options.methods.split(","):
        weights = options.out / f"{method}-{options.data}.pt"
        if options.stage != "measure":
            train(method, weights, data, options)
        if options.stage != "train":
            metrics = _save(weights, method, options, data)
            print(method, {name: metrics.get(name) for name in (*SHOWN, "engine_ms", "minutes")})


if __name__ == "__main__":
    main()
