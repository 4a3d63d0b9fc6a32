"""Measure the time to the first verdict of `edge-ad run`, and its peak memory.

    python benchmarks/bench_start.py [--repeat 7] [--work DIR]

Each repeat is a fresh process on the shipped sample, in two environments: the checkout's, and one
with what a device installs, `edge-ad[onnxruntime,video]`, made under DIR. The first start on a
machine optimises the graph and keeps it; figures without `initial` are of later starts, which map
it. `peak_mib` is the process's peak resident set over the whole footage, `folder_peak_mib` that
over its frames as PNG files, which need no decoder of videos; `own_peak_mib` counts pages that it
shares with other processes, or maps several times, in parts (PSS, read every 20 ms).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from unittest import mock

import cv2
import numpy as np
from results import write_result  # the script's own folder is on the path

from edge_ad.images import write_image

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "edge_ad" / "sample"
FOOTAGE = SAMPLE / "footage.mp4"
DEFAULT_WORK = Path.home() / ".cache" / "edge-ad-start"
T = TypeVar("T")


def run_command(python: str, camera: Path) -> list[str]:
    """Return the command of a run with the sample engine."""
    words = ("-m", "edge_ad", "run", "--json", "--camera", camera)
    return [python, *map(str, (*words, "--engine", SAMPLE / "engine.onnx"))]


def first_verdict_s(python: str) -> float:
    """Return the seconds from starting the process to its first line on stdout."""
    began = time.perf_counter()
    with subprocess.Popen(
        [*run_command(python, FOOTAGE), "--frames", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        elapsed_s = time.perf_counter() - began
    assert b'"inspection"' in line, line
    return elapsed_s


def help_s(python: str) -> float:
    """Return the seconds that `edge-ad --help` takes."""
    began = time.perf_counter()
    subprocess.run([python, "-m", "edge_ad", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def peaks_mib(python: str, camera: Path) -> tuple[float, float]:
    """Return the peak resident memory of a run over all frames, and its own part of it."""
    process = subprocess.Popen(run_command(python, camera), stdout=subprocess.DEVNULL)
    own = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        with contextlib.suppress(ProcessLookupError):  # it is ending
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            own = max(own, *map(int, re.findall(r"^Pss: +(\d+)", rollup, re.MULTILINE)), 0)
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024, own / 1024


def make_device(work: Path) -> str:
    """Return the Python of an environment with the packages that a device installs."""
    python = str(work / "device" / "bin" / "python")
    if not Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", str(work / "device")], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", f"{ROOT}[onnxruntime,video]"]
    subprocess.run(pip, check=True)
    return python


def packages_of(python: str) -> dict[str, str]:
    """Return the versions of an environment's packages."""
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], check=True, stdout=subprocess.PIPE
    )
    return {package["name"]: package["version"] for package in json.loads(listed.stdout)}


def make_folder(work: Path) -> Path:
    """Write the footage's frames as PNG files."""
    folder = work / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoCapture(str(FOOTAGE))
    for number in range(int(video.get(cv2.CAP_PROP_FRAME_COUNT))):
        _, frame = video.read()
        write_image(folder / f"{number:04}.png", np.asarray(frame, np.uint8))
    return folder


@contextlib.contextmanager
def new_cache() -> Iterator[None]:
    """Give the commands an empty folder for what they keep between starts."""
    with TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}):
        yield


def in_new_cache(measured: Callable[[], T]) -> T:
    with new_cache():
        return measured()


def measure(python: str, folder: Path, repeat: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the figures of one environment, and the times behind them."""
    first = partial(first_verdict_s, python)
    footage = partial(peaks_mib, python, FOOTAGE)
    initial = [in_new_cache(first) for _ in range(repeat)]
    initial_peak_mib, _ = in_new_cache(footage)
    with new_cache():
        first()
        verdicts = [first() for _ in range(repeat)]
        peak_mib, own_peak_mib = footage()
        folder_peak_mib, _ = peaks_mib(python, folder)
    helps = [help_s(python) for _ in range(repeat)]
    metrics = {
        "initial_first_verdict_s": round(median(initial), 3),
        "first_verdict_s": round(median(verdicts), 3),
        "help_s": round(median(helps), 3),
        "initial_peak_mib": round(initial_peak_mib, 1),
        "peak_mib": round(peak_mib, 1),
        "own_peak_mib": round(own_peak_mib, 1),
        "folder_peak_mib": round(folder_peak_mib, 1),
    }
    samples = {
        "initial_first_verdict_s": initial, "first_verdict_s": verdicts, "help_s": helps
    }  # fmt: skip
    return metrics, samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    folder = make_folder(arguments.work)
    device = make_device(arguments.work)
    os.environ["PYTHONPATH"] = str(ROOT)  # both run the checkout's code
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start compiles all modules
    for name, python in (("sample", sys.executable), ("sample on a device", device)):
        metrics, samples = measure(python, folder, arguments.repeat)
        settings = {"packages": packages_of(python)}
        path = write_result(
            "start", name, "fp32", metrics=metrics, settings=settings, samples=samples
        )
        print(metrics, path)


if __name__ == "__main__":
    main()
