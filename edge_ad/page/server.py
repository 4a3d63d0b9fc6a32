"""Serve a page until it is stopped."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from edge_ad.errors import OutletLost, UsageError
from edge_ad.outlet.tls import no_password
from edge_ad.page.application import PageApplication, PageSettings
from edge_ad.priority import give_way

_protocol_log = logging.getLogger("edge_ad.page.protocol")
_CLOSES_WITHIN_S = 1.0
_ENDS_WITHIN_S = 4.0  # even if a view still waits
_NICE = 10


def serve(
    settings: PageSettings,
    listener: socket.socket,
    started: Callable[[], None],
    tls: ssl.SSLContext | None = None,
    *,
    with_stdin: bool = False,
) -> bool:
    """Serve until SIGINT or SIGTERM; return whether it was SIGINT. `started` is called once.

    With `with_stdin` it ends when the standard input does: with the process that started it.

    The process gives way to the line, and to everything else.
    """
    give_way(_NICE)
    return asyncio.run(_serve(settings, listener, started, tls, with_stdin=with_stdin))


def server_tls(cert: Path, key: Path | None) -> ssl.SSLContext:
    """Return the TLS settings of a server. Raises UsageError for files that are unfit."""
    for path in filter(None, (cert, key)):
        if not path.is_file():
            raise UsageError(f"there is no file '{path}'.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=no_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or (error.args[-1] if error.args else error)
        raise UsageError(
            f"--cert {cert}: cannot be used ({reason}). Expected a certificate and its private key "
            "in PEM, without a password."
        ) from error
    return context


async def _serve(
    settings: PageSettings,
    listener: socket.socket,
    started: Callable[[], None],
    tls: ssl.SSLContext | None,
    *,
    with_stdin: bool,
) -> bool:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    if with_stdin:
        loop.add_reader(0, stop, signal.SIGTERM)
    async with serving(PageApplication(settings), listener, tls):
        started()
        await stopped.wait()
        loop.remove_reader(0)
        _end_within(_ENDS_WITHIN_S, 130 if received[0] == signal.SIGINT else 0)
    return received[0] == signal.SIGINT


@asynccontextmanager
async def serving(
    application: PageApplication, listener: socket.socket, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve an application; requests that are no HTTP leave nothing in the log."""
    _protocol_log.setLevel(logging.CRITICAL)
    runner = web.AppRunner(
        application.app,
        access_log=None,
        shutdown_timeout=_CLOSES_WITHIN_S,
        logger=_protocol_log,
    )
    await runner.setup()
    assert runner.server is not None
    accepting = asyncio.create_task(application.connections.accept(listener, runner.server, tls))
    try:
        yield
    finally:
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        await runner.cleanup()


def _end_within(seconds: float, code: int) -> None:
    """End the process after a time, if it has not ended: it holds nothing that could be lost."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


def open_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises OutletLost or UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UsageError(
            f"--listen: there is no address '{host}' ({error.strerror or error})."
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OutletLost(_not_listening(host, port, error)) from error
    return listener


def _not_listening(host: str, port: int, error: OSError) -> str:
    hint = ""
    if error.errno == errno.EADDRINUSE:
        hint = " Another program listens there, perhaps the page of another line: choose a port."
    return f"cannot listen on {host}:{port} ({error.strerror}).{hint}"
