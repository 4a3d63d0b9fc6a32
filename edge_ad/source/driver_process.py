"""Run a camera's driver as a separate process: `python -m edge_ad.source.driver_process FD`.

It ends with the line that started it, even when the driver hangs.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress

import numpy as np

from edge_ad.frame import BadFrame, Grab, pixels_of
from edge_ad.source.driver_messages import SLOTS, error_message, receive, request_of, send
from edge_ad.source.registry import find_camera

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class _Images:
    """The memory that images are passed in; a larger image needs a new one."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._memory: mmap.mmap | None = None
        self._bytes = 0  # of a slot
        self._free: list[int] = []

    def put(self, image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
        """Copy an image into a slot, when one is free, and return its number."""
        if self._memory is None or image.nbytes > self._bytes:
            self._make(image.nbytes)
        assert self._memory is not None
        while not self._free:
            self._give_back()
        slot = self._free.pop()
        target = np.frombuffer(self._memory, np.uint8, image.nbytes, slot * self._bytes)
        np.copyto(target.reshape(image.shape), image)
        return slot

    def _make(self, slot_bytes: int) -> None:
        while self._memory is not None and len(self._free) < SLOTS:
            self._give_back()  # of the memory that the line lets go
        self._bytes = slot_bytes
        descriptor = os.memfd_create("edge-ad-frames")
        os.ftruncate(descriptor, SLOTS * slot_bytes)
        self._memory = mmap.mmap(descriptor, SLOTS * slot_bytes)
        self._free = list(range(SLOTS))
        send(self._channel, {"slot_bytes": slot_bytes}, descriptor)
        os.close(descriptor)

    def _give_back(self) -> None:
        message, _ = receive(self._channel)
        self._free.append(message["free"])


def main() -> None:
    """Answer the request that comes over the socket until the driver or the line ends."""
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        message, _ = receive(channel)
        _end_with(message["parent"])
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
        with suppress(OSError, EOFError):  # the line has closed the camera
            _serve(channel, message)


def _serve(channel: socket.socket, message: dict[str, object]) -> None:
    try:
        request = request_of(message)
        threading.Thread(target=_close, args=(channel, request.closed), daemon=True).start()
        grabs = iter(find_camera(request.uri.scheme).load_opener()(request))
    except Exception as error:
        return send(channel, {"error": error_message(error)})
    send(channel, {"opened": True})
    images = _Images(channel)
    try:
        while (grab := _next(grabs, channel)) is not None:
            send(channel, _message_of(grab, images))
    finally:
        close = getattr(grabs, "close", None)
        if close is not None:
            close()  # releases the device
    _wait_for_goodbye(channel)
    return None


def _close(channel: socket.socket, closed: threading.Event) -> None:
    """Close the source with the line's end of the socket: a camera without frames sends nothing."""
    poll = select.poll()
    poll.register(channel, 0)  # its end is reported even so
    poll.poll()
    closed.set()


def _wait_for_goodbye(channel: socket.socket) -> None:
    """Read until the line closes the camera.

    The kernel drops what was sent, the reason of the end among it, when a socket is closed with
    something unread in it: slots that the line has given back meanwhile.
    """
    while True:
        receive(channel)


def _next(grabs: object, channel: socket.socket) -> Grab | None:
    """Return the driver's next grab; say why there is none."""
    try:
        grab: Grab = next(grabs)  # type: ignore[call-overload]
    except StopIteration:
        send(channel, {"end": True})
    except Exception as error:
        send(channel, {"error": error_message(error)})
    else:
        return grab
    return None


def _message_of(grab: Grab, images: _Images) -> dict[str, object]:
    common = {
        "index": grab.index,
        "captured_s": grab.captured_s,
        "file": grab.file,
        "triggered_s": grab.triggered_s,
    }
    if isinstance(grab, BadFrame):
        return common | {"reason": grab.reason}
    pixels = pixels_of(grab.image)
    return common | {"slot": images.put(pixels), "shape": pixels.shape}


def _end_with(parent: int) -> None:
    """Die when the line's process does, and leave its signals to it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the line closes its cameras
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # the device is released; Python's own end takes a busy computer a second
