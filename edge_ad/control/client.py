"""Send requests to a running line."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_ad.control.address import ATTACHED, SOCKET, connect_to
from edge_ad.errors import EdgeAdError, OutletLost, UsageError
from edge_ad.store.lock import LOCK, is_locked
from edge_ad.store.schema import DATABASE

_STARTS_WITHIN_S = 5.0  # a line that holds its folder may not have opened its socket yet
_CLAIMED_WITHIN_S = 2.0  # by a command that has just been started
_ANSWERS_WITHIN_S = 10.0
_LONGEST_ANSWER = 8 << 20
_MOST_ATTACHED = 256 << 20


class LineAway(EdgeAdError):
    """No line runs in a folder, or it does not answer."""


class RequestRefused(EdgeAdError):
    """The line refused a request; the exit code is that of its reason."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def request(folder: Path, message: Mapping[str, Any]) -> dict[str, Any]:
    """Send one message to the line that runs in a folder and return its answer.

    Raises UsageError for a folder that is no line's, LineAway when no line answers, RequestRefused
    when it refuses.
    """
    if not (folder / DATABASE).is_file() and not _is_claimed(folder):
        raise UsageError(
            f"{folder} has no {DATABASE}. Expected the output folder of a line: "
            "edge-ad run ... -o DIR"
        )
    try:
        return _accepted(_exchange(folder, json.dumps(message).encode() + b"\n"))
    except OSError as error:
        raise _away(folder, error) from error


def _is_claimed(folder: Path) -> bool:
    """Return whether a line starts in a folder; wait a moment for one that is new or empty."""
    until = time.monotonic() + _CLAIMED_WITHIN_S
    while True:
        used = _is_used(folder)  # before the lock: a line that starts now takes it first
        if is_locked(folder):
            return True
        if used or time.monotonic() > until:
            return False
        time.sleep(0.02)


def _is_used(folder: Path) -> bool:
    """Return whether a folder holds anything but a lock, whose file is there before it is held."""
    try:
        return any(path.name != LOCK for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False


class LineLink:
    """A connection for many requests to the line of a folder, from one thread at a time.

    It is opened when it is needed, also again after the line was away.
    """

    def __init__(self, folder: Path, answers_within_s: float = _ANSWERS_WITHIN_S) -> None:
        self._path, self._within_s = folder / SOCKET, answers_within_s
        self._stream: Any = None

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send one message and return its answer. Raises LineAway at once, or RequestRefused."""
        try:
            if self._stream is None:
                with connect_to(self._path, self._within_s) as connection:
                    self._stream = connection.makefile("rwb")
            self._stream.write(json.dumps(message).encode() + b"\n")
            self._stream.flush()
            return _accepted(_read_answer(self._stream))
        except OSError as error:
            self.close()
            reason = error.strerror or error
            raise LineAway(f"{self._path}: the line does not answer ({reason}).") from error

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):  # what was not sent yet
                stream.close()


def _accepted(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that is not a refusal. Raises RequestRefused for one that is."""
    if not answer.pop("ok", False):
        code = answer.get("exit", UsageError.exit_code)
        raise RequestRefused(f"the line refused: {answer.get('error')}", int(code))
    return answer


def _exchange(folder: Path, line: bytes) -> dict[str, Any]:
    until = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            connection = connect_to(folder / SOCKET, _ANSWERS_WITHIN_S)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > until or not is_locked(folder):
                raise
            time.sleep(0.1)
    with connection:
        with contextlib.suppress(BrokenPipeError):  # refused at once: the answer says why
            connection.sendall(line)
        return _read_answer(connection.makefile("rb"))


def _read_answer(stream: Any) -> dict[str, Any]:
    """Read an answer; what is attached to it is then bytes under that key."""
    line = stream.readline(_LONGEST_ANSWER)
    if not line.endswith(b"\n"):
        raise ConnectionResetError("the line closed the connection")
    answer = json.loads(line)
    assert isinstance(answer, dict)
    if size := answer.get(ATTACHED, 0):
        answer[ATTACHED] = stream.read(min(size, _MOST_ATTACHED))
        if len(answer[ATTACHED]) < size:
            raise ConnectionResetError("the line closed the connection")
    return answer


def _away(folder: Path, error: OSError) -> EdgeAdError:
    path = folder / SOCKET
    if isinstance(error, PermissionError):
        return OutletLost(f"{path}: only the user of the line and root may control it.")
    if isinstance(error, TimeoutError):
        return LineAway(f"the line in {folder} did not answer within {_ANSWERS_WITHIN_S:g} s.")
    if not is_locked(folder):
        return LineAway(f"no line runs in {folder}. Start one with: edge-ad run ... -o {folder}")
    if not path.exists():
        return LineAway(f"the line in {folder} is still starting. Try again in a moment.")
    return LineAway(f"{path}: the line does not answer ({error.strerror or error}).")
