"""Every method, light preset at 128x128, on the same data in the same time: accuracy and speed.

    python benchmarks/bench_methods.py --data line --minutes 30 [--methods draem,pmb]
    python benchmarks/bench_methods.py --data magnetic_tile --shared ../shared --minutes 30

`line` is the synthetic line, written anew from its seed. Speed is ONNX Runtime's, one picture a
call. One result file a method and data set; the table they make is `edge-ad methods`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import write_result  # the script's own folder is on the path

from edge_ad.engine import open_engine
from edge_ad.models.catalogue import ENTRIES
from edge_ad.sample.dataset import write_dataset

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "iap", "iap90", "good", "defective")
PRETRAINED = ("destseg", "clflow")
TIMED = 40


def edge_ad(*words: str) -> dict[str, Any]:
    """One of the project's commands, and the JSON object it prints."""
    run = [sys.executable, "-m", "edge_ad", *words, "--json"]
    done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(method: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train, evaluate the weights, time the engine."""
    weights = options.out / f"{method}-{options.data}.pt"
    trained = edge_ad("train", *_words(method, data, options), "-o", str(weights))
    accuracy = edge_ad("evaluate", str(weights), "--data", str(data))
    engine = weights.with_suffix(".onnx")
    edge_ad("export", str(weights), "-o", str(engine))
    times = _times_ms(engine)
    metrics = {name: accuracy[name] for name in SHOWN} | {
        "data": options.data,
        "minutes": trained["minutes"],
        "steps": trained["steps"],
        "parameters": trained["parameters"],
        "gflops": trained["gflops"],
        "engine_ms": statistics.median(times),
        "held_back": trained["choice"].get("measured"),
    }
    settings = {"method": method, **{k: trained[k] for k in ("settings", "seed", "threads")}}
    write_result(
        "methods", f"{method}-{options.data}", "fp32",
        metrics=metrics, settings=settings, samples={"engine_ms": times},
    )  # fmt: skip
    return metrics


def _words(method: str, data: Path, options: argparse.Namespace) -> list[str]:
    words = ["--method", method, "--preset", "edge", "--size", "128", "--device", "cpu"]
    words += ["--data", str(data), "--seed", str(options.seed), "--threads", str(options.threads)]
    words += ["--budget-minutes", str(options.minutes)]
    if method in PRETRAINED:
        weights = options.shared / "data" / "weights" / "resnet18_imagenet_stem_to_layer3.pth"
        words += ["--teacher", str(weights)]
    if options.arithmetic:
        words += ["--arithmetic", options.arithmetic]
    return words


def _times_ms(engine: Path) -> list[float]:
    with open_engine(engine) as opened:
        picture = np.zeros((1, *opened.manifest.size_hw, 3), np.uint8)
        times = []
        for _ in range(TIMED):
            started = time.perf_counter()
            opened.infer(picture)
            times.append((time.perf_counter() - started) * 1e3)
    return times


def _data(options: argparse.Namespace) -> Path:
    if options.data != "line":
        return Path(options.shared / "data" / options.data)
    folder = Path(options.out / "line")
    if not folder.exists():
        write_dataset(folder, train=200, good=50, each=25, size_wh=(320, 240))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="line")
    parser.add_argument("--methods", default=",".join(entry.name for entry in ENTRIES))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arithmetic", choices=["fp32", "bf16"])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "methods")
    options = parser.parse_args()
    for method in options.methods.split(","):
        metrics = measure(method, _data(options), options)
        print(method, {name: metrics[name] for name in (*SHOWN, "engine_ms", "minutes")})


if __name__ == "__main__":
    main()
