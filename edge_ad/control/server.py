"""Listen at a line's control socket: a thread that accepts, and one for each client.

Nothing here is waited for by the line. A client that sends too much, too slowly or nothing at all
loses its connection, and so does one beyond the limit.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.closeable import ClosedAtExit
from edge_ad.control.address import ATTACHED, SOCKET, short_address
from edge_ad.control.messages import LONGEST_BYTES, MalformedMessage, Request, parse_request
from edge_ad.control.refusals import Refusals
from edge_ad.errors import EdgeAdError

_log = logging.getLogger(__name__)
Answer = Mapping[str, Any]
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of the peer


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take: connections, seconds between and within messages."""

    clients: int = 8
    idle_s: float = 60.0
    message_s: float = 10.0
    answer_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    uid: int

    @property
    def name(self) -> str:
        """The name of the user."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"user {self.uid}"

    @property
    def is_allowed(self) -> bool:
        """Whether it is the user of this process, or root."""
        return self.uid in (os.geteuid(), 0)


class ControlSocket(ClosedAtExit):
    """The socket `control.sock` in a line's folder, for the user of the process and root.

    `answer` returns the answer to a request of a user; it is called in the threads of clients.
    Make it while the folder is locked: the socket of a dead line is replaced. Raises OSError.
    """

    def __init__(
        self,
        folder: Path,
        answer: Callable[[Request, str], Answer],
        refusals: Refusals,
        limits: Limits | None = None,
    ) -> None:
        self.path = folder / SOCKET
        self._answer, self._refusals, self._limits = answer, refusals, limits or Limits()
        self._slots = threading.Semaphore(self._limits.clients)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = _listen(self.path)
        self._inode = self.path.stat().st_ino
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        """Remove the socket and end all connections; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            connections = list(self._open)
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        for connection in [self._listener, *connections]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._closed:
                    return
                _log.warning("%s: %s", self.path, error.strerror or error)
                time.sleep(1.0)  # no file handles left, perhaps
                continue
            self._receive(connection)

    def _receive(self, connection: socket.socket) -> None:
        """Serve a connection in a thread, or refuse it."""
        with self._lock:
            if self._closed:
                connection.close()
                return
            self._open.add(connection)
        peer = _peer(connection)
        if not peer.is_allowed:
            self._refuse(connection, peer, "not allowed: another user than that of the line")
        elif not self._slots.acquire(blocking=False):
            self._refuse(connection, peer, f"more than {self._limits.clients} clients at once")
        else:
            thread = threading.Thread(target=self._serve, args=(connection, peer), daemon=True)
            thread.name = "control client"
            try:
                thread.start()
            except RuntimeError as error:  # no thread is left: the next client may have more luck
                self._slots.release()
                self._refuse(connection, peer, f"it cannot be served now: {error}")

    def _refuse(self, connection: socket.socket, peer: Peer, reason: str) -> None:
        self._refusals.add(peer.name, reason)
        connection.settimeout(0.1)  # in the accepting thread: it fits the buffer or it is lost
        with contextlib.suppress(OSError):
            _send(connection, {"ok": False, "error": reason})
        self._drop(connection)

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        try:
            while (line := self._next_line(connection)) is not None:
                connection.settimeout(self._limits.answer_s)
                _send(connection, self._answered(line, peer))
        except MalformedMessage as error:
            self._refusals.add(peer.name, str(error))
            with contextlib.suppress(OSError):
                connection.settimeout(self._limits.answer_s)
                _send(connection, {"ok": False, "error": str(error)})
        except OSError:
            pass  # the client has gone, or does not read
        finally:
            self._drop(connection)
            self._slots.release()

    def _answered(self, line: bytes, peer: Peer) -> Answer:
        try:
            request = parse_request(line)
        except MalformedMessage as error:
            self._refusals.add(peer.name, str(error))
            return {"ok": False, "error": str(error)}
        try:
            who = f"{request.by} (through {peer.name})" if request.by else peer.name
            return {"ok": True, **self._answer(request, who)}
        except EdgeAdError as error:
            return {"ok": False, "error": str(error), "exit": error.exit_code}
        except Exception as error:  # a bug must not take the connection's slot with it
            _log.exception("control: %s", request.command)
            return {"ok": False, "error": f"{type(error).__name__}: {error}", "exit": 1}

    def _next_line(self, connection: socket.socket) -> bytes | None:
        """Return the next line, None when the client has gone or is idle.

        Raises MalformedMessage for one that is too long, too slow, or has no end.
        """
        received = bytearray()
        deadline = time.monotonic() + self._limits.idle_s
        while not received.endswith(b"\n"):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = connection.recv(4096, socket.MSG_PEEK)
                end = data.find(b"\n") + 1 or len(data)
                data = connection.recv(end)
            except TimeoutError:
                if not received:
                    return None
                raise MalformedMessage("a message that did not end in time") from None
            if not data:
                if not received:
                    return None
                raise MalformedMessage("a message without an end (a line break)")
            if not received:
                deadline = time.monotonic() + self._limits.message_s
            received += data
            if len(received) > LONGEST_BYTES:
                raise MalformedMessage(f"a message of more than {LONGEST_BYTES} bytes")
        return bytes(received)

    def _drop(self, connection: socket.socket) -> None:
        self._open.discard(connection)  # also while `close` lists them: both are one step
        connection.close()


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`, in place of one that a dead line has left."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} is not a socket. Move it away.")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before it has a name: others never see it open
        with short_address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener


def _peer(connection: socket.socket) -> Peer:
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(data)
    return Peer(uid)


def _send(connection: socket.socket, answer: Answer) -> None:
    attached: list[memoryview] = answer.get(ATTACHED, [])
    if attached:
        answer = {**answer, ATTACHED: sum(each.nbytes for each in attached)}
    connection.sendall(json.dumps(answer, allow_nan=False).encode() + b"\n")
    for each in attached:
        connection.sendall(each)
