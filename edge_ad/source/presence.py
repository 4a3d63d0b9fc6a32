"""Ask cheaply whether a camera that was lost is back, so that it need not wait for its turn."""

from __future__ import annotations

import contextlib
import os
import socket
from urllib.parse import urlsplit

from edge_ad.uri import Uri

_WITHIN_S = 1.0
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_QUESTIONS = {
    "rtsp": b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "http": b"OPTIONS / HTTP/1.0\r\n\r\n",
}


def device_exists(uri: Uri) -> bool:
    """Return whether a camera's device file is there and may be used."""
    return os.access(uri.place, os.R_OK | os.W_OK)


def genicam_answers(uri: Uri) -> bool:
    """Return whether a GenICam camera is among those that answer."""
    from edge_ad.source.genicam import answers

    return answers(uri)


def pylon_answers(uri: Uri) -> bool:
    """Return whether a Basler camera is among those that answer."""
    from edge_ad.source.pylon import list_names

    return any(uri.place in {"", *names} for names in list_names())


def host_answers(uri: Uri) -> bool:
    """Return whether a network camera's server answers; of an encrypted one, whether it accepts.

    A stopped server accepts too, since its kernel does: an answer takes its program.
    """
    with contextlib.suppress(OSError, ValueError):
        parts = urlsplit(uri.place)
        address = (parts.hostname or "", parts.port or _PORTS[uri.scheme])
        with socket.create_connection(address, _WITHIN_S) as server:
            if question := _QUESTIONS.get(uri.scheme):
                server.sendall(question)
                return bool(server.recv(1))
            return True
    return False
