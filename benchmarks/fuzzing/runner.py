"""Attempt inputs one by one, with limited memory and time, and record what came of each."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edge_ad.errors import EdgeAdError
from fuzzing import folders, images, labels, models, texts

Attempt = Callable[[np.random.Generator, Path], bool]
HANG_S = 20  # of processor time; the slowest valid input takes a tenth of a second
STUCK_S = 300  # of wall-clock time, after which the process ends, as beside others it may be slow
MEMORY_GIB = 8  # of address space; libraries alone take two
KINDS: dict[str, Attempt] = {
    "images": images.images,
    "folders": folders.folders,
    "videos": folders.videos,
    "masks": labels.masks,
    "labelled folders": labels.labelled_folders,
    "ONNX files": models.foreign_graphs,
    "engines": models.engines,
    "plans": models.plans,
    "sidecars": texts.sidecars,
    "range tables": texts.range_tables,
    "configurations": texts.configs,
}
WORKER = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); "
    "from fuzzing import runner; runner.work(*sys.argv[1:])"
)


class Hang(BaseException):
    """An input took longer than HANG_S."""


@dataclass
class Outcome:
    """What came of the inputs of one kind; `findings` are index and traceback."""

    tried: int = 0
    accepted: int = 0
    refused: int = 0
    findings: list[tuple[int, str]] = field(default_factory=list)


def fuzz(kind: str, seed: int, count: int, script: str = WORKER) -> Outcome:
    """Attempt `count` inputs in another process; when it dies, that input is a finding."""
    outcome, index = Outcome(), 0
    while index < count:
        with tempfile.NamedTemporaryFile("r") as log:
            words = [kind, str(seed), str(index), str(count), log.name]
            command = [sys.executable, "-c", script, *words]
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, errors="replace"
            )
            records = [json.loads(line) for line in log]
        if not records:
            raise RuntimeError(f"the process of '{kind}' did not begin: {done.stderr}")
        _add(outcome, records)
        index = records[-1]["index"] + 1
        if records[-1]["outcome"] == "begun":
            outcome.findings.append((index - 1, f"exit {done.returncode}: {done.stderr[-3000:]}"))
    return outcome


def _add(outcome: Outcome, records: list[dict[str, Any]]) -> None:
    counts = Counter(record["outcome"] for record in records)
    outcome.tried += counts["begun"]
    outcome.accepted += counts["accepted"]
    outcome.refused += counts["refused"]
    outcome.findings += [
        (record["index"], record["message"]) for record in records if record["outcome"] == "finding"
    ]


def work(kind: str, seed: str, first: str, end: str, log: str) -> None:
    """Attempt inputs in this process; each writes `begun` and its outcome to the log."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GIB << 30, MEMORY_GIB << 30))
    logging.getLogger().setLevel(logging.WARNING)
    warnings.simplefilter("error", RuntimeWarning)
    with Path(log).open("a", encoding="utf-8") as file:
        for index in range(int(first), int(end)):
            _write(file, index, "begun")
            _write(file, index, *attempt(kind, int(seed), index))


def attempt(kind: str, seed: int, index: int) -> tuple[str, str]:
    """Return `accepted`, `refused` or `finding` for one input, the latter with its traceback."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), index])
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        with _limited():
            return ("accepted" if KINDS[kind](rng, folder) else "refused"), ""
    except EdgeAdError as error:
        return "refused", str(error)
    except (Exception, Hang):
        return "finding", traceback.format_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise Hang after HANG_S; where native code does not return to Python, end the process."""
    faulthandler.dump_traceback_later(STUCK_S, exit=True)
    before = signal.signal(signal.SIGVTALRM, _raise_hang)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        faulthandler.cancel_dump_traceback_later()


def _raise_hang(*_: Any) -> None:
    raise Hang


def _write(file: TextIO, index: int, outcome: str, message: str = "") -> None:
    record = {"index": index, "outcome": outcome, "message": message[-4000:]}
    file.write(json.dumps(record) + "\n")
    file.flush()
