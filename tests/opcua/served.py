"""A line's OPC UA server for tests, with everything that a test does to it."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from edge_ad.clock import now_utc
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Region, Verdict
from edge_ad.opcua.certificate import own_certificate
from edge_ad.opcua.settings import NAMESPACE
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.registry import open_outlet
from edge_ad.store.store import Store
from tests.timing import LIMIT_S

NOTHING = Evidence()
USER, PASSWORD = "operator", "correct horse"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def part(number: int, verdict: Verdict = Verdict.PASS, camera: str = "top") -> Inspection:
    return Inspection(
        verdict,
        number * 0.5,
        0.25,
        (Region(1, 2, 3, 4, 5, 6.0, (7, 8)),) if verdict is Verdict.REJECT else (),
        frame=number,
        part=number,
        camera=camera,
        time_utc=now_utc(),
        latency_s=0.012,
        reason="black frame" if verdict is Verdict.INVALID else "",
    )


def alarm(
    step: AlarmStep,
    id: str = "a-1",
    kind: AlarmKind = AlarmKind.DEFECT,
    camera: str = "top",
    reason: str = "",
) -> AlarmEvent:
    return AlarmEvent(
        step, id, kind, "", 5, 5, 5, 1.5, 0.25, camera=camera, part=5, reason=reason,
        time_utc=now_utc(),
    )  # fmt: skip


@dataclass
class Served:
    """An open outlet, where its server is, and the store of its line."""

    port: int
    options: str = ""
    outlet: Outlet = field(init=False)
    client_certificate: tuple[Path, Path] | None = None

    def open(self, cameras: Sequence[str], store: Store | None) -> None:
        self.outlet = open_outlet(f"opcua://{self.options.format(port=self.port)}")
        self.outlet.started(cameras, store)

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    def inspected(self, *inspections: Inspection) -> None:
        for inspection in inspections:
            self.outlet.inspected(inspection, NOTHING)

    def alarmed(self, *events: AlarmEvent) -> None:
        for event in events:
            self.outlet.alarmed(event, NOTHING)

    def wait_until_ready(self, timeout_s: float = 250) -> None:
        until = time.monotonic() + timeout_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.05)

    @asynccontextmanager
    async def connected(self, user: str = "", password: str = PASSWORD) -> AsyncIterator[Peer]:
        """Connect: without a user on the plain endpoint, else on the encrypted one."""
        client = Client(self.url, timeout=LIMIT_S)
        if user:
            assert self.client_certificate is not None
            await self.encrypt(client)
            client.set_user(user)
            client.set_password(password)
        async with client:
            yield Peer(client, await client.get_namespace_index(NAMESPACE))

    async def encrypt(self, client: Client) -> None:
        assert self.client_certificate is not None
        certificate, key = self.client_certificate
        client.application_uri = "urn:test"
        await client.set_security(
            SecurityPolicyBasic256Sha256,
            certificate,
            key,
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )


@dataclass
class Peer:
    """A connected client."""

    client: Any
    namespace: int

    def node(self, path: str) -> Any:
        return self.client.get_node(ua.NodeId(path, self.namespace))

    async def read(self, *paths: str) -> list[tuple[Any, str]]:
        """Read variables in one request: value and quality of each."""
        nodes = [self.node(path) for path in paths]
        values = await self.client.read_attributes(nodes)
        return [
            (value.Value.Value if value.Value else None, value.StatusCode.name) for value in values
        ]

    async def value(self, path: str) -> Any:
        return (await self.read(path))[0][0]

    async def wait_for(self, path: str, value: Any, timeout_s: float = LIMIT_S) -> None:
        await self.wait_until(path, lambda got: bool(got == value), timeout_s)

    async def wait_until(
        self, path: str, right: Callable[[Any], bool], timeout_s: float = LIMIT_S
    ) -> None:
        import asyncio

        until = time.monotonic() + timeout_s
        while not right(await self.value(path)):
            assert time.monotonic() < until, f"{path} is {await self.value(path)}"
            await asyncio.sleep(0.02)


def make_client_certificate(folder: Path) -> tuple[Path, Path]:
    return own_certificate(folder, "localhost")
