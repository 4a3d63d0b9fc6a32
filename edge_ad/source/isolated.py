"""Read a camera in a separate process, so that a driver that hangs or crashes can be ended.

A thread that hangs in a driver can only be left behind, with the device and its memory; a process
can be killed, and the system takes both back. It costs a copy of each image, and the memory of a
Python with its camera libraries, about 50 MiB a camera besides what processes share.
"""

from __future__ import annotations

import logging
import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from edge_ad.errors import SourceLost, SourceTimeout
from edge_ad.frame import BadFrame, Frame, Grab, from_grey
from edge_ad.source.base import SourceRequest
from edge_ad.source.driver_messages import (
    SLOTS,
    Message,
    error_of,
    is_readable,
    receive,
    request_message,
    send,
)

_COMMAND = (sys.executable, "-m", "edge_ad.source.driver_process")
_RELEASE_S = 0.8  # for a driver to release its device
_KILLED_S = 0.8  # for the system to end a process; one in a system call may take longer
_log = logging.getLogger(__name__)


def open_isolated(request: SourceRequest) -> Iterator[Grab]:
    """Open the camera of a request in a new process and return its grabs.

    Raises what its opener raises, SourceTimeout when the driver does not open within
    `open_within_s`, SourceLost when the process cannot be started or dies.
    """
    driver = _Driver(request)
    try:
        driver.wait_until_open()
    except BaseException:
        driver.end()
        raise
    return driver.grabs()


class _Driver:
    """The process of one camera's driver."""

    def __init__(self, request: SourceRequest) -> None:
        self._request, self._name = request, request.name
        self._memory: np.ndarray[tuple[int], np.dtype[np.uint8]] | None = None
        self._slot_bytes = 0
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ours
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*_COMMAND, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # drivers print there, and it may be the line's JSON
                    pass_fds=[theirs.fileno()],
                )
                send(ours, request_message(request) | {"parent": os.getpid()})
            except OSError as error:
                ours.close()
                raise SourceLost(
                    f"{self._name}: the process for its driver cannot be started ({error})."
                ) from error

    def wait_until_open(self) -> None:
        until_s = time.monotonic() + self._request.open_within_s
        while not is_readable(self._channel):
            if self._request.closed.is_set() or time.monotonic() > until_s:
                raise SourceTimeout(
                    f"{self._name} did not open within {self._request.open_within_s:g} s. Check "
                    "that the camera is powered, connected and not in use elsewhere."
                )
        message, _ = self._receive()
        if "error" in message:
            raise error_of(message["error"], self._name)

    def grabs(self) -> Iterator[Grab]:
        """Yield grabs until the camera's end, an error, or the end of the source."""
        try:
            while not self._request.closed.is_set():
                if not is_readable(self._channel):
                    continue
                message, descriptors = self._receive()
                if "end" in message:
                    return
                if "error" in message:
                    raise error_of(message["error"], self._name)
                if descriptors:
                    self._map(message["slot_bytes"], descriptors[0])
                else:
                    yield self._grab(message)
        finally:
            self.end()

    def end(self) -> None:
        """End the process: let the driver release its device, and kill it if it does not."""
        self._channel.close()
        try:
            self._process.wait(_RELEASE_S)
        except subprocess.TimeoutExpired:
            _log.warning("%s: the camera driver does not return; its process is killed", self._name)
            self._process.kill()
            try:
                self._process.wait(_KILLED_S)
            except subprocess.TimeoutExpired:
                _log.warning("%s: the driver's process is still within the system", self._name)

    def _receive(self) -> tuple[Message, list[int]]:
        try:
            return receive(self._channel)
        except (EOFError, OSError) as error:
            raise SourceLost(
                f"{self._name}: the process of its driver died ({self._how_it_ended()})."
            ) from error

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(_KILLED_S)
        except subprocess.TimeoutExpired:
            return "it closed its socket"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _map(self, slot_bytes: int, descriptor: int) -> None:
        memory = mmap.mmap(descriptor, SLOTS * slot_bytes, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(descriptor)
        self._memory = np.frombuffer(memory, np.uint8)
        self._slot_bytes = slot_bytes

    def _grab(self, message: Message) -> Grab:
        index, captured_s = message["index"], message["captured_s"]
        file, triggered_s = message["file"], message["triggered_s"]
        if "reason" in message:
            return BadFrame(message["reason"], index, captured_s, self._name, file, triggered_s)
        assert self._memory is not None
        first = message["slot"] * self._slot_bytes
        size = int(np.prod(message["shape"]))
        pixels = self._memory[first : first + size].reshape(message["shape"]).copy()
        with suppress(OSError):  # it has died meanwhile; the next look says how
            send(self._channel, {"free": message["slot"]})
        image = from_grey(pixels) if pixels.ndim == 2 else pixels
        return Frame(image, index, captured_s, self._name, file, triggered_s)
