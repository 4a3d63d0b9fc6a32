"""Run `edge-ad calibrate` for both targets on a labelled set and keep what the gate measured.

    python benchmarks/int8_gate.py --engine destseg.onnx --data DIR --name magnetic-tile
    python benchmarks/int8_gate.py --sample

Results: the comparison of methods, the losses against the default limits, the false alarms at each
engine's own threshold, and the layers that TensorRT-RTX compiles the TensorRT file to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results import write_result  # the script's own folder is on the path

ENGINE = Path(__file__).resolve().parent.parent / "edge_ad" / "sample" / "engine.onnx"
KEPT = ("passed", "method", "gate", "float_blocks", "int8_nodes", "bytes", "speed", "compiled",
        "threshold", "calibration_images")  # fmt: skip


def calibrate(engine: Path, data: Path, target: str, extra: list[str]) -> dict[str, Any]:
    """Return the report of one calibration, with its time; exit code 4 is a result too."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        files = [str(engine), "--images", str(data), "--test", str(data)]
        options = ["--target", target, "-o", f"{folder}/int8.onnx", "--json", *extra]
        command = [sys.executable, "-m", "edge_ad", "calibrate", *files, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 4):
        raise SystemExit(done.returncode)
    report = json.loads(done.stdout.splitlines()[0])
    seconds = time.perf_counter() - began
    return headline(report) | {name: report[name] for name in KEPT} | {"seconds": seconds}


def headline(report: dict[str, Any]) -> dict[str, float]:
    """Return the figures for a table's row: before and after, and how much faster."""
    gate, speed = report["gate"], report["speed"]
    figures = {
        f"{name}_{side}": gate[side][name]
        for name in ("image_auroc", "pixel_ap")
        for side in ("fp32", "int8")
    }
    return figures | ({"times_faster": speed["speedup"]} if speed else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--sample", action="store_true", help="The shipped detector on its line.")
    parser.add_argument("--targets", nargs="+", default=["onnxruntime", "tensorrt"])
    args, extra = parser.parse_known_args()
    if not args.sample and not (args.engine and args.data and args.name):
        parser.error("give --engine, --data and --name, or --sample")
    with tempfile.TemporaryDirectory() as folder:
        if args.sample:
            args.engine, args.data, args.name = *sample_and_line(Path(folder)), "sample"
        for target in args.targets:
            metrics = calibrate(args.engine, args.data, target, extra)
            path = write_result(
                "int8_gate",
                f"{args.name}_{target}",
                "int8",
                metrics=metrics,
                settings={"target": target, "options": extra},
            )
            print(path)


def sample_and_line(folder: Path) -> tuple[Path, Path]:
    """Make the shipped detector in fp32, and labelled images of its line."""
    engine, data = folder / "sample.onnx", folder / "line"
    convert = ["convert", str(ENGINE), "--precision", "fp32", "-o", str(engine)]
    subprocess.run([sys.executable, "-m", "edge_ad", *convert], check=True, stdout=sys.stderr)
    options = ["-o", str(data), "--train", "512", "--normal", "200", "--per-kind", "50"]
    subprocess.run([sys.executable, "-m", "edge_ad.sample.dataset", *options], check=True)
    return engine, data


if __name__ == "__main__":
    main()
