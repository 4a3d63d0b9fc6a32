"""Train every method on every data set, and measure it on parts that it has never seen.

    python benchmarks/bench_methods.py --shared ../shared                        (days of a core)
    python benchmarks/bench_methods.py --methods patchcore,gaussian --precisions fp32
    python benchmarks/bench_methods.py --methods destseg,destseg+gaussian --data magnetic_tile
    python benchmarks/bench_methods.py --methods patchcore --backbone efficientnet_lite2
    python benchmarks/bench_methods.py --methods draem --data line,line_seed_7 --stage measure

Each method is trained with its edge preset for each seed on the training images, less the parts
that `train` sets aside: those choose the branch and carry the threshold. Test images choose
nothing. `line` is the synthetic line, cropped to the plates' lane; `line_seed_7` is a line of
another seed and `other_lines` four more, on which the weights of `line` are measured.
`magnetic_tile_reverse` trains on the normal test images and tests on the normal training images, as
`_reverse` does for every set in the shared folder. A method's prior follows a plus;
`bench_priors.py` adds it to weights without one.

One result file per method and data set holds all seeds: mean, standard deviation over the seeds,
and the mean of the intervals by part. Training leaves weights in --out, which `--stage measure`
uses. On a busy machine give --steps, since minutes would mean fewer steps; the result file has the
processor minutes. Other precisions than fp32 are measured for the first seed. Milliseconds are the
processor time of one thread; `--stage time` measures only these again, in the files that are there.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from method_precisions import measure_precisions, times_ms  # the script's own folder is on the path
from method_seeds import METRICS, SETS, Run, measure, train
from results import RESULTS, file_name, write_result

from edge_ad.files import write_text
from edge_ad.methods.layers.backbone import CHANNELS
from edge_ad.methods.registry import METHODS
from edge_ad.training.report import report_path

ROOT = Path(__file__).resolve().parent.parent
PRIORS = {"destseg": ("gaussian", "patchcore")}
NAMES = [f"{method}{prior}" for method in METHODS
         for prior in ("", *(f"+{name}" for name in PRIORS.get(method, ())))]  # fmt: skip
COSTS = ("parameters", "gflops")
SETTINGS = ("settings", "threads", "arithmetic", "size_hw", "geometry", "textures",
            "budget_minutes")  # fmt: skip


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean over seeds of each metric, its deviation, and the mean of its intervals."""
    figures: dict[str, Any] = {}
    for name in METRICS:
        values = [seed[name] for seed in seeds if seed[name] is not None]
        ends = [seed["intervals"][name] for seed in seeds if seed["intervals"][name]]
        figures[name] = mean(values) if values else None
        figures[f"{name}_deviation"] = stdev(values) if len(values) > 1 else None
        figures[f"{name}_interval"] = [mean(end) for end in zip(*ends, strict=True)] or None
    for name in ("minutes", "processor_minutes"):
        figures[name] = mean(seed[name] for seed in seeds)
    return figures


def save(run: Run, seeds: list[dict[str, Any]], others: list[str]) -> Path:
    """Measure speed and other precisions with the first seed's engine; write the result file."""
    weights = run.weights(seeds[0]["seed"])
    report = json.loads(report_path(weights).read_text(encoding="utf-8"))
    first = {name: seeds[0][name] for name in METRICS}
    data = run.folder(run.data)
    measured, samples = measure_precisions(weights.with_suffix(".onnx"), data, others, first)
    metrics = {"data": run.label, "seeds": len(seeds), **summary(seeds), **measured}
    metrics["engine_ms"] = measured["precisions"]["fp32"]["engine_ms"]
    metrics |= {name: report[name] for name in COSTS} | {"load_average": os.getloadavg()[0]}
    settings: dict[str, Any] = {
        "method": run.method,
        "prior": run.prior or "none",
        "trained_on": run.trained_on,
    }
    settings |= {"seed": [seed["seed"] for seed in seeds]}
    return write_result(
        "methods", f"{run.file_name}_{run.label}", "all",
        metrics=metrics,
        settings=settings | {name: _without_place(report[name], run.shared) for name in SETTINGS},
        samples={"seeds": seeds, **samples},
    )  # fmt: skip


def _without_place(setting: Any, shared: Path) -> Any:
    """Return a setting without where this machine keeps the shared images."""
    if isinstance(setting, str) and setting.startswith(str(shared)):
        return f"../shared{setting.removeprefix(str(shared))}"
    return setting


def time_again(run: Run) -> Path:
    """Time the engines behind a result file again, and write it with the other figures as they are.

    Raises FileNotFoundError when the file or an engine is not there.
    """
    path = RESULTS / file_name("cpu", "methods", f"{run.file_name}_{run.label}", "all")
    record = json.loads(path.read_text(encoding="utf-8"))
    metrics, fp32 = record["metrics"], run.weights(record["settings"]["seed"][0])
    names = {"fp32": ".onnx", "fp16": ".fp16.onnx", "int8": ".int8.onnx"}
    engines = {name: fp32.with_suffix(names[name]) for name in metrics["precisions"]}
    times = times_ms(engines, run.folder(run.data))
    for name, samples in times.items():
        metrics["precisions"][name]["engine_ms"] = median(samples)
        record["samples"][f"{name}_ms"] = samples
    metrics["engine_ms"] = metrics["precisions"]["fp32"]["engine_ms"]
    metrics["load_average"] = os.getloadavg()[0]
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def options_given() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=",".join(SETS), help="Data sets, separated by commas.")
    parser.add_argument("--methods", default=",".join(NAMES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--minutes", type=float, help="For each training.")
    parser.add_argument("--steps", type=int, help="In place of --minutes, on a busy machine.")
    parser.add_argument("--side", type=int, help="Of the input, in place of the method's.")
    parser.add_argument("--backbone", choices=tuple(CHANNELS), help="In place of ResNet-18.")
    parser.add_argument("--stage", choices=["all", "train", "measure", "time"], default="all")
    parser.add_argument("--precisions", default="fp32,fp16,int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arithmetic", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--set", action="append", default=[], help="A setting of the method.")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "methods")
    options = parser.parse_args()
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def main() -> None:
    options = options_given()
    for data in options.data.split(","):
        for name in options.methods.split(","):
            run = Run(name, data, options.shared, options.out, options.side, options.backbone)
            if options.stage == "time":
                print(time_again(run))
                continue
            here = [seed for seed in options.seeds if _needs_training(run, seed, options)]
            for seed in here:
                train(run, seed, options)
            if options.stage == "train":
                continue
            seeds = [measure(run, seed) for seed in options.seeds]
            others = [] if data != run.trained_on else options.precisions.split(",")
            print(save(run, seeds, others), {key: summary(seeds)[key] for key in METRICS})


def _needs_training(run: Run, seed: int, options: argparse.Namespace) -> bool:
    """Return whether to train: not for the measuring stage, nor again for a line's other seed."""
    if options.stage == "measure":
        return False
    return run.trained_on == run.data or not run.weights(seed).exists()


if __name__ == "__main__":
    main()
