"""Run the server: settings and messages on standard input, its messages on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys

from edge_ad.opcua import limits
from edge_ad.opcua.link import Link
from edge_ad.opcua.settings import ServerSettings
from edge_ad.priority import give_way


def main() -> int:
    """Serve until the line closes the input; 1 when the server cannot be started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the line, which then says stop
    give_way(5)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limits.PROCESS_BYTES, limits.PROCESS_BYTES))
    target = os.dup(1)
    os.dup2(2, 1)  # nothing else may print there
    source = open(0, "rb", buffering=0)
    settings = ServerSettings.from_json(_read_line(source.fileno()))
    link = Link(source, target)
    try:
        from edge_ad.opcua.server import LineServer

        asyncio.run(LineServer(settings, link).run())
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        link.send({"failed": reason})
        return 1
    return 0


def _read_line(handle: int) -> bytes:
    """Read one line and nothing beyond it."""
    text = b""
    while not text.endswith(b"\n") and (character := os.read(handle, 1)):
        text += character
    return text


if __name__ == "__main__":
    sys.exit(main())
