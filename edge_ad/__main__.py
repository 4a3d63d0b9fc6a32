"""`python -m edge_ad` is `edge-ad`."""

import atexit
import contextlib
import os
import sys
import threading

from edge_ad.cli import main


def run() -> None:
    """Run a command and end the process with its exit code, also beside a driver that hangs."""
    try:
        main()
    except SystemExit as stop:
        _end_beside_threads(stop.code if isinstance(stop.code, int) else bool(stop.code))
        raise
    _end_beside_threads(0)


def _end_beside_threads(code: int) -> None:
    """End the process at once if a daemon thread is still there after all that runs at exit.

    One that returns from OpenCV while Python takes itself down would abort the process and hide
    the exit code.
    """
    if not _daemons():
        return
    atexit._run_exitfuncs()
    if not _daemons():
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _daemons() -> bool:
    return any(thread.daemon for thread in threading.enumerate())


if __name__ == "__main__":
    run()
