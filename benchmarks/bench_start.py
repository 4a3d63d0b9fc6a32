"""Measure the time to the first verdict of `edge-ad run`, and its peak memory.

    python benchmarks/bench_start.py [--repeat 7]

Each repeat is a fresh process on the shipped sample. The first start on a machine optimises the
graph and keeps it; figures without `initial` are of later starts, which map it. `peak_mib` is the
process's peak resident set over the whole footage; `own_peak_mib` counts pages that it shares with
other processes, or maps several times, in parts (PSS, read every 20 ms).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar
from unittest import mock

from results import write_result  # the script's own folder is on the path

SAMPLE = Path(__file__).resolve().parent.parent / "edge_ad" / "sample"
T = TypeVar("T")
RUN = (
    sys.executable, "-m", "edge_ad", "run", "--json",
    "--camera", str(SAMPLE / "footage.mp4"), "--engine", str(SAMPLE / "engine.onnx"),
)  # fmt: skip


def first_verdict_s() -> float:
    """Return the seconds from starting the process to its first line on stdout."""
    began = time.perf_counter()
    with subprocess.Popen(
        [*RUN, "--frames", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        elapsed_s = time.perf_counter() - began
    assert b'"inspection"' in line, line
    return elapsed_s


def help_s() -> float:
    """Return the seconds that `edge-ad --help` takes."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "edge_ad", "--help"], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def peaks_mib() -> tuple[float, float]:
    """Return the peak resident memory of a run over the whole footage, and its own part of it."""
    process = subprocess.Popen(RUN, stdout=subprocess.DEVNULL)
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


@contextlib.contextmanager
def new_cache() -> Iterator[None]:
    """Give the commands an empty folder for what they keep between starts."""
    with TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}):
        yield


def in_new_cache(measured: Callable[[], T]) -> T:
    with new_cache():
        return measured()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    initial = [in_new_cache(first_verdict_s) for _ in range(repeat)]
    initial_peak_mib, _ = in_new_cache(peaks_mib)
    with new_cache():
        first_verdict_s()
        verdicts = [first_verdict_s() for _ in range(repeat)]
        peak_mib, own_peak_mib = peaks_mib()
    helps = [help_s() for _ in range(repeat)]
    metrics = {
        "initial_first_verdict_s": round(median(initial), 3),
        "first_verdict_s": round(median(verdicts), 3),
        "help_s": round(median(helps), 3),
        "initial_peak_mib": round(initial_peak_mib, 1),
        "peak_mib": round(peak_mib, 1),
        "own_peak_mib": round(own_peak_mib, 1),
    }
    samples = {
        "initial_first_verdict_s": initial, "first_verdict_s": verdicts, "help_s": helps
    }  # fmt: skip
    print(metrics, write_result("start", "sample", "fp32", metrics=metrics, samples=samples))


if __name__ == "__main__":
    main()
