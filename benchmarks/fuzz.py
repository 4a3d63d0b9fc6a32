"""Hand mutated inputs of every kind to the public functions and verbs.

    python benchmarks/fuzz.py [--kinds images plans ...] [--share 0.1] [--seed 0]

A finding is a traceback, a hang, a process that dies, a count that does not add up, a refusal that
does not name its file, or a file that a refused verb leaves behind. Exits with 1 when there is one.
Kinds that are run alone replace their part of the result file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from fuzzing.runner import KINDS, Outcome, fuzz  # the script's own folder is on the path
from results import RESULTS, file_name, write_result

BENCH = "fuzz"
MODEL, PRECISION = "mutated inputs", "all"
COUNTS = {
    "images": 4000,
    "folders": 500,
    "videos": 400,
    "masks": 1000,
    "labelled folders": 1000,
    "ONNX files": 500,
    "engines": 600,
    "plans": 400,
    "sidecars": 700,
    "range tables": 500,
    "configurations": 700,
}


def metrics(kinds: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Return the counts of all kinds together, and the inputs of each."""
    total = {
        key: sum(kind[key] for kind in kinds.values()) for key in ("tried", "accepted", "refused")
    }
    total["findings"] = sum(len(kind["findings"]) for kind in kinds.values())
    return total | {name: kind["tried"] for name, kind in kinds.items()}


def earlier() -> dict[str, dict[str, Any]]:
    """Return the kinds of the result file, none without one."""
    path = RESULTS / file_name("cpu", BENCH, MODEL, PRECISION)
    kinds: dict[str, dict[str, Any]] = (
        json.loads(path.read_text())["samples"] if path.exists() else {}
    )
    return kinds


def report(name: str, outcome: Outcome, seconds: float) -> None:
    """Print the counts of one kind and its findings."""
    print(
        f"{name}: {outcome.tried} tried, {outcome.accepted} accepted, {outcome.refused} refused, "
        f"{len(outcome.findings)} findings, {seconds:.0f} s",
        flush=True,
    )
    for index, text in outcome.findings:
        print(f"--- {name} {index}\n{text}", flush=True)


def main() -> int:
    """Fuzz the kinds that are asked for and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--share", type=float, default=1.0, help="of the inputs, without a file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds = earlier() if options.share == 1 else {}
    for name in options.kinds:
        began = time.perf_counter()
        outcome = fuzz(name, options.seed, max(1, round(COUNTS[name] * options.share)))
        report(name, outcome, time.perf_counter() - began)
        kinds[name] = asdict(outcome)
    if options.share == 1:
        kinds = {name: kinds[name] for name in KINDS if name in kinds}
        settings = {"seed": options.seed}
        write_result(
            BENCH, MODEL, PRECISION, metrics=metrics(kinds), settings=settings, samples=kinds
        )
    return int(any(kind["findings"] for kind in kinds.values()))


if __name__ == "__main__":
    sys.exit(main())
