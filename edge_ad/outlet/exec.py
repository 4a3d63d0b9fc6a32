"""Run a command for each event, with the event as JSON on its standard input."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import time

from edge_ad.errors import Refused, UsageError
from edge_ad.outlet.durable import DurableOutlet, Record
from edge_ad.uri import Uri, number

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
_TAIL_BYTES = 4096
_LOOK_EVERY_MS = 50  # for the end of a command whose output one of its children holds open


def open_exec(uri: Uri) -> DurableOutlet:
    """Open `exec:COMMAND`. Raises UsageError for a command that does not exist."""
    try:
        words = shlex.split(uri.place)
    except ValueError as error:
        raise UsageError(f"{uri}: {error}. Quote it as for a shell.") from error
    if not words:
        raise UsageError("exec: names no command. Expected exec:COMMAND, such as exec:./notify.sh")
    if shutil.which(words[0]) is None:
        shown = shlex.split(str(uri).removeprefix("exec:"))[0]  # a reference, where it is one
        raise UsageError(
            f"{uri}: there is no command '{shown}' that may be executed. No shell is involved: "
            "for pipes and variables, name a script."
        )
    return ExecOutlet(words, number(uri, "timeout_s", 30.0, least=0.1))


class ExecOutlet(DurableOutlet):
    """Delivered means exit code 0; 75 (EX_TEMPFAIL) and a time-out mean to try again without end.

    Any other exit code refuses the event. The command has its own process group, which is
    killed after `timeout_s`.
    """

    def __init__(self, words: list[str], timeout_s: float) -> None:
        self._words, self._timeout_s = words, timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def deliver(self, record: Record) -> None:
        until_s = time.monotonic() + self._timeout_s
        with self._begin(json.dumps(record).encode()) as process:
            self._process = process
            try:
                output = _last_output(process, until_s)
                code = process.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"no end after {self._timeout_s:g} s, killed") from None
            finally:
                self.close()
                self._process = None
        self.answer = f"exit code {code}" + (f": {output}" if output else "")
        if code == TRY_AGAIN:
            raise ConnectionError(self.answer)
        if code != 0:
            raise Refused(self.answer)

    def close(self) -> None:
        """Kill a command that still runs."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _begin(self, data: bytes) -> subprocess.Popen[bytes]:
        """Start the command; its input is in memory, so that writing it never waits."""
        handle = os.memfd_create("event")
        try:
            os.write(handle, data)
            os.lseek(handle, 0, os.SEEK_SET)
            return subprocess.Popen(
                self._words,
                stdin=handle,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(handle)


def _last_output(process: subprocess.Popen[bytes], until_s: float) -> str:
    """Return the end of what a command prints, when it has ended or time is up."""
    assert process.stdout is not None
    handle, tail = process.stdout.fileno(), b""
    poll = select.poll()
    poll.register(handle, select.POLLIN | select.POLLHUP)
    while time.monotonic() < until_s:
        if poll.poll(_LOOK_EVERY_MS):
            chunk = os.read(handle, 65536)
            if not chunk:
                break
            tail = (tail + chunk)[-_TAIL_BYTES:]
        elif process.poll() is not None:
            break
    return tail.decode(errors="replace").strip()
