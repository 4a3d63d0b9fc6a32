"""A page on a free port, in a thread, and a client for it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from edge_ad.page.application import PageApplication, PageSettings
from edge_ad.page.connections import ConnectionLimits, Connections
from edge_ad.page.guard import AllowedHosts
from edge_ad.page.person import Person, Role
from edge_ad.page.routes import ROUTES, Route
from edge_ad.page.server import open_listener, serving
from edge_ad.store.event import StoreEvent
from edge_ad.store.retention import Retention
from edge_ad.store.store import Store
from tests.timing import LIMIT_S

ADMIN = Person("anna", Role.ADMIN)


@dataclass
class PageAnswer:
    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class ServedPage:
    """A running page; requests are those of its own browser unless headers say otherwise."""

    port: int
    cookie: str = ""
    count_connections: Callable[[], int] = int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> PageAnswer:
        return self.ask("GET", path, headers)

    def post(self, path: str, values: object = None, **headers: str) -> PageAnswer:
        own = {"Content-Type": "application/json", "X-Edge-Ad": "page"}
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, own | sent, json.dumps(values or {}).encode())

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> PageAnswer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        given = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        given = {name: value for name, value in given.items() if value}
        if self.cookie:
            given.setdefault("Cookie", self.cookie)
        with contextlib.closing(connection):
            connection.request(method, path, body or None, given)
            answer = connection.getresponse()
            return PageAnswer(answer.status, dict(answer.getheaders()), answer.read())


class Tab:
    """A tab with the live view: asks for messages, one at a time; `frames` are JPEGs by camera."""

    def __init__(self, page: ServedPage, **headers: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._page, self._headers = page, headers
        self.frames: dict[str, bytes] = {}

    def __enter__(self) -> Tab:
        self._loop.run_until_complete(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession()
        headers = {"Origin": f"http://{self._page.host}", "Cookie": self._page.cookie}
        address = f"http://{self._page.host}/live/feed"
        try:
            self._socket = await self._session.ws_connect(address, headers=headers | self._headers)
        except BaseException:
            await self._session.close()
            raise

    async def _close(self) -> None:
        await self._socket.close()
        await self._session.close()

    def say(self, text: str) -> None:
        self._loop.run_until_complete(self._socket.send_str(text))

    def next(self) -> dict[str, Any]:
        """Ask for the next message and return its state."""
        self.say("next")
        data = self._loop.run_until_complete(self._socket.receive_bytes(timeout=LIMIT_S))
        length = int.from_bytes(data[:4], "big")
        state: dict[str, Any] = json.loads(data[4 : 4 + length])
        at = 4 + length
        for camera in state["cameras"]:
            if camera["bytes"]:
                self.frames[camera["camera"]] = data[at : at + camera["bytes"]]
            at += camera["bytes"]
        assert at == len(data)
        return state

    def is_closed(self) -> bool:
        """Wait for the next message and return whether it is the end."""
        message = self._loop.run_until_complete(self._socket.receive(timeout=LIMIT_S))
        return message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


@contextlib.contextmanager
def served(
    folder: Path,
    routes: Sequence[Route] = ROUTES,
    *,
    port: int = 0,
    limits: ConnectionLimits | None = None,
    tls: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> Iterator[ServedPage]:
    """Serve the page of a folder to its own computer, as `ADMIN` unless `settings` differ."""
    hosts = AllowedHosts(frozenset(), loopback=True)
    given: dict[str, Any] = {
        "folder": folder,
        "hosts": hosts,
        "local": ADMIN,
        "language": "en",
    } | settings
    application = PageApplication(PageSettings(**given), routes)
    connections = Connections(limits or ConnectionLimits(), clock)
    started, stop = threading.Event(), threading.Event()
    loop = asyncio.new_event_loop()
    with open_listener("127.0.0.1", port) as listener:

        async def run() -> None:
            application.connections = connections
            async with serving(application, listener, tls):
                started.set()
                await loop.run_in_executor(None, stop.wait)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await loop.shutdown_default_executor()

        thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="page")
        thread.start()
        try:
            assert started.wait(LIMIT_S)
            yield ServedPage(listener.getsockname()[1], count_connections=connections.__len__)
        finally:
            stop.set()
            thread.join(LIMIT_S)
            loop.close()


def make_store(folder: Path, events: Sequence[StoreEvent] = ()) -> Path:
    """Make a line's folder with some events, as a line that has ended leaves it."""
    store = Store(folder, Retention())
    for event in events:
        assert store.record(event)
    store.close()
    return folder


def user_file(folder: Path, **roles: str) -> Path:
    """Write a file of users with these roles, whose passwords are unknown."""
    path = folder / "page-users.yaml"
    digest = f"pbkdf2-sha256$600000${'A' * 24}${'A' * 43}="
    lines = [f"  {name}: {{role: {role}, password: {digest}}}" for name, role in roles.items()]
    path.write_text("\n".join(("users:", *lines)) + "\n")
    path.chmod(0o600)
    return path
