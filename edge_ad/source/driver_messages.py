"""What a line and the process of a camera's driver say to each other.

Packets of JSON over a pair of Unix sockets, and images in memory that both map: a frame's packet
names the slot that it lies in, and the line gives the slot back when it has copied the image.
"""

from __future__ import annotations

import json
import select
import socket
from dataclasses import asdict, fields
from typing import Any

from edge_ad.errors import (
    DataError,
    EdgeAdError,
    IncompatibleError,
    SourceLost,
    SourceTimeout,
    UsageError,
)
from edge_ad.images import BitDepth
from edge_ad.source.base import SourceRequest
from edge_ad.uri import Uri

Message = dict[str, Any]
SLOTS = 3  # frames on their way from the driver to the line
_LONGEST = 1 << 16
_LOOK_MS = 100  # how soon a source that is closed is noticed
_RAISED: dict[str, type[EdgeAdError]] = {
    kind.__name__: kind
    for kind in (UsageError, DataError, IncompatibleError, SourceLost, SourceTimeout)
}


def send(channel: socket.socket, message: Message, *descriptors: int) -> None:
    """Send a packet. Raises OSError when the other side has gone."""
    socket.send_fds(channel, [json.dumps(message).encode()], descriptors)


def receive(channel: socket.socket) -> tuple[Message, list[int]]:
    """Wait for a packet and return it with its descriptors. Raises EOFError at the end."""
    data, descriptors, _, _ = socket.recv_fds(channel, _LONGEST, 1)
    if not data:
        raise EOFError
    return json.loads(data), descriptors


def is_readable(channel: socket.socket) -> bool:
    """Return whether there is a packet or the end within 0.1 s."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(_LOOK_MS))


def request_message(request: SourceRequest) -> Message:
    """Return a request as a message; it has the secrets of its URI."""
    depth = request.bit_depth
    return {
        "uri": {field.name: getattr(request.uri, field.name) for field in fields(Uri)}
        | {"options": dict(request.uri.options)},
        "name": request.name,
        "timeout_s": request.timeout_s,
        "open_within_s": request.open_within_s,
        "bit_depth": asdict(depth) if depth else None,
    }


def request_of(message: Message) -> SourceRequest:
    depth = message["bit_depth"]
    return SourceRequest(
        Uri(**message["uri"]),
        message["name"],
        message["timeout_s"],
        message["open_within_s"],
        BitDepth(**depth) if depth else None,
    )


def error_message(error: BaseException) -> Message:
    """Return an error as a message: the nearest of its kinds and its text, without a traceback."""
    kind = next((kind.__name__ for kind in type(error).__mro__ if kind in _RAISED.values()), "")
    return {"kind": kind, "text": str(error) if kind else f"{type(error).__name__}: {error}"}


def error_of(message: Message, name: str) -> EdgeAdError:
    """Return the error of a message; one that the driver raised itself is SourceLost."""
    if message["kind"]:
        return _RAISED[message["kind"]](message["text"])
    return SourceLost(f"{name}: reading failed: {message['text']}")
