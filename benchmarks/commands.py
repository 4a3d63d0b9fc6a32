"""Run edge-ad's commands from benchmarks, and look at processes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_REST_S = 0.05  # without processor time, five ticks of its counter


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


def processor_minutes(before: resource.struct_rusage) -> float:
    """Return the minutes of processor time that commands took since `before`, of RUSAGE_CHILDREN.

    They depend little on the load of the machine.
    """
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) / 60


def resident_mib(process: int | str = "self") -> float:
    """Return the memory that a process holds now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def wait_for_rest(pid: int) -> None:
    """Wait until a process has used no time of a processor for a while.

    ONNX Runtime's threads spin after a call; what comes next would be measured beside them.
    """
    stat, used = Path(f"/proc/{pid}/stat"), [""]
    while used != (now := stat.read_text().rpartition(")")[2].split()[11:13]):
        used = now
        time.sleep(_REST_S)
