"""Runs `edge-ad calibrate` for both targets on a labelled set and keeps what the gate measured.

    python benchmarks/int8_gate.py --engine destseg.onnx --data DIR --name magnetic-tile

The methods' comparison, the losses against the default limits, the false alarms at each engine's
own threshold, and what TensorRT-RTX compiles the TensorRT flavour to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from results import write_result  # the script's own folder is on the path

KEPT = ("passed", "method", "gate", "float_blocks", "int8_nodes", "bytes", "speed", "compiled",
        "threshold", "frames_seen")  # fmt: skip


def calibrated(engine: Path, data: Path, target: str, words: list[str]) -> dict[str, Any]:
    """The report of one calibration, with its time; exit code 4 is a result too."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = ["edge-ad", "calibrate", str(engine), "--images", str(data), "--test", str(data),
                   "--target", target, "-o", f"{folder}/int8.onnx", "--json", *words]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 4):
        raise SystemExit(done.returncode)
    report = json.loads(done.stdout.splitlines()[0])
    seconds = time.perf_counter() - began
    return headline(report) | {name: report[name] for name in KEPT} | {"seconds": seconds}


def headline(report: dict[str, Any]) -> dict[str, float]:
    """The figures for a table's row: before and after, and how much faster."""
    gate, speed = report["gate"], report["speed"]
    found = {
        f"{name}_{side}": gate[side][name]
        for name in ("image_auroc", "pixel_ap")
        for side in ("fp32", "int8")
    }
    return found | ({"times_faster": speed["times_faster"]} if speed else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--targets", nargs="+", default=["onnxruntime", "tensorrt"])
    wanted, words = parser.parse_known_args()
    for target in wanted.targets:
        found = calibrated(wanted.engine, wanted.data, target, words)
        path = write_result(
            "int8_gate",
            f"{wanted.name}_{target}",
            "int8",
            metrics=found,
            settings={"target": target, "options": words},
        )
        print(path)


if __name__ == "__main__":
    main()
