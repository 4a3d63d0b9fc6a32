"""Accept the connections of browsers, within limits that no visitor can exhaust.

Connections count from the moment they are accepted, before TLS and before a request. Beyond the
limits the one that waits longest gives way to a new one: whoever opens hundreds and says nothing
loses them, and does not keep anybody out. A connection without a request for a while is closed,
whether its headers come a byte a minute or it is kept for a next request that does not come; so is
one that does not take what it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_log = logging.getLogger(__name__)
Factory = Callable[[], asyncio.BaseProtocol]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Connections of one address and in all, and the seconds of each that may pass.

    Until a connection is encrypted, without a request, without taking any byte of an answer, and
    from one look at all of them to the next.
    """

    of_address: int = 64
    in_all: int = 128
    tls_s: float = 10.0
    idle_s: float = 20.0
    takes_s: float = 30.0
    look_every_s: float = 1.0


@dataclass(slots=True, eq=False)
class _Connection:
    address: str
    since_s: float  # its last request ended, or bytes went out
    requests: int = 0  # under way
    unsent: int = 0  # bytes, at the last look
    transport: Any = None  # None before TLS
    opening: asyncio.Task[None] | None = None
    aborted: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether the other side or we have closed it."""
        if self.aborted:
            return True
        if self.transport is None:
            return self.opening is not None and self.opening.done()
        return bool(self.transport.is_closing())

    @property
    def is_idle(self) -> bool:
        """Whether it has no request under way, and nothing of an answer left to send."""
        sent = self.transport is None or not self.transport.get_write_buffer_size()
        return not self.requests and sent

    def abort(self) -> None:
        """End it at once."""
        self.aborted = True
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()


@dataclass
class Connections:
    """The connections of a page, in the loop that serves them."""

    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    clock: Callable[[], float] = time.monotonic
    _open: dict[Any, _Connection] = field(default_factory=dict, init=False)  # by peer

    def __len__(self) -> int:
        return len(self._open)

    async def accept(
        self, listener: socket.socket, factory: Factory, tls: ssl.SSLContext | None = None
    ) -> None:
        """Accept connections until it is cancelled; `factory` makes what answers on each."""
        loop = asyncio.get_running_loop()
        listener.settimeout(0)
        looking = asyncio.create_task(self._look_again_and_again())
        try:
            while True:
                try:
                    accepted, peer = await loop.sock_accept(listener)
                except OSError as error:  # no file handles left, perhaps
                    _log.warning("a connection is not accepted: %s", error.strerror or error)
                    await asyncio.sleep(self.limits.look_every_s)
                    continue
                self._receive(accepted, peer, factory, tls)
                await asyncio.sleep(0)  # a flood must not keep those inside from being served
        finally:
            looking.cancel()
            for connection in self._open.values():
                if connection.transport is None:
                    connection.abort()

    @contextmanager
    def answering(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """Count a request on a connection as under way."""
        peer = None if transport is None else transport.get_extra_info("peername")
        connection = self._open.get(peer)
        if connection is None:
            yield
            return
        connection.requests += 1
        try:
            yield
        finally:
            connection.requests -= 1
            connection.since_s = self.clock()

    def look(self) -> None:
        """Forget connections that are gone, and end those that have waited too long."""
        now_s = self.clock()
        self._forget()
        for connection in self._open.values():
            if connection.transport is None:
                continue
            unsent = connection.transport.get_write_buffer_size()
            if unsent != connection.unsent:
                connection.unsent, connection.since_s = unsent, now_s
            within_s = self.limits.takes_s if unsent else self.limits.idle_s
            if (unsent or connection.is_idle) and now_s - connection.since_s > within_s:
                connection.abort()

    def _receive(
        self, accepted: socket.socket, peer: Any, factory: Factory, tls: ssl.SSLContext | None
    ) -> None:
        if not self._has_room(peer[0]):
            accepted.close()
            return
        accepted.settimeout(0)
        connection = self._open[peer] = _Connection(peer[0], self.clock())
        opening = self._open_up(connection, accepted, factory, tls)
        connection.opening = asyncio.create_task(opening)

        def opened(_: object) -> None:
            if connection.transport is None:
                accepted.close()

        connection.opening.add_done_callback(opened)

    async def _open_up(
        self,
        connection: _Connection,
        accepted: socket.socket,
        factory: Factory,
        tls: ssl.SSLContext | None,
    ) -> None:
        limit_s = None if tls is None else self.limits.tls_s
        with contextlib.suppress(OSError):  # no TLS, or not in time
            connection.transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                factory, accepted, ssl=tls, ssl_handshake_timeout=limit_s
            )

    def _has_room(self, address: str) -> bool:
        """Return whether one more connection may be, once the idlest has given way to it."""
        same = [each for each in self._open.values() if each.address == address]
        if len(same) < self.limits.of_address and len(self._open) < self._most:
            return True
        self._forget()
        same = [each for each in same if not each.is_gone]
        if len(same) >= self.limits.of_address:
            return self._give_way(same)
        return len(self._open) < self._most or self._give_way([*self._open.values()])

    def _give_way(self, connections: list[_Connection]) -> bool:
        idle = [each for each in connections if each.is_idle]
        if not idle:
            return False
        min(idle, key=lambda each: each.since_s).abort()
        self._forget()
        return True

    def _forget(self) -> None:
        self._open = {peer: each for peer, each in self._open.items() if not each.is_gone}

    @property
    def _most(self) -> int:
        """The limit in all: no more than half of the file handles."""
        handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return self.limits.in_all if handles < 0 else min(self.limits.in_all, handles // 2)

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self.limits.look_every_s)
            with contextlib.suppress(OSError):
                self.look()
