"""The heaps of a process, which glibc's own report counts."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_COUNT = """
import ctypes, sys, threading
from edge_ad.machine.memory import share_heaps
libc = ctypes.CDLL(None)
libc.fdopen.restype = libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "shared":
    share_heaps()
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(50_000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
out = libc.fdopen(1, b"w")
libc.malloc_info(0, ctypes.c_void_p(out))
libc.fflush(ctypes.c_void_p(out))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has several heaps")
def test_threads_share_two_heaps() -> None:
    assert heaps("own") > 2
    assert heaps("shared") == 2


def heaps(whose: str) -> int:
    """Return how many heaps eight threads leave behind that allocate at the same time."""
    command = [sys.executable, "-c", _COUNT, whose]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return report.count("<heap nr=")
