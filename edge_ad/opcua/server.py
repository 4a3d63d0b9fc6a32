"""Serve a line: take its messages, show them, and fall back to "not pass" when they stay away."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from asyncua import Server, ua
from asyncua.common.connection import TransportLimits

from edge_ad.opcua import guard, limits
from edge_ad.opcua.address_space import AddressSpace
from edge_ad.opcua.conditions import Conditions
from edge_ad.opcua.events import Notifier
from edge_ad.opcua.link import Link, Message
from edge_ad.opcua.nodes import RESULT_EVENT
from edge_ad.opcua.reports import ReportHandler, Reports
from edge_ad.opcua.settings import LINGER_S, SILENCE_S, ServerSettings
from edge_ad.opcua.shown_camera import Quality, ShownCamera

_LOOK_EVERY_S = 0.05  # for results that have become stale
_CHUNK_BYTES = 65535


class LineServer:
    """The server of one line."""

    def __init__(self, settings: ServerSettings, link: Link) -> None:
        self._settings, self._link = settings, link
        self._reports = Reports(link.report)
        self._cameras: dict[str, ShownCamera] = {}
        self._beat_s = time.monotonic()
        self._stopped = False
        self._second = self._beats = 0

    async def run(self) -> None:
        """Serve until the line has stopped or died, and a moment longer."""
        logging.getLogger().addHandler(ReportHandler(self._reports))
        await self._prepare()
        async with self._server:
            self._link.send({"ready": self._settings.url})
            tasks = {
                asyncio.create_task(self._take_all()),
                asyncio.create_task(self._watch()),
            }
            done, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                task.cancel()
            for task in done:
                task.result()

    async def _take_all(self) -> None:
        """Take messages until the line stops or dies; show that for a moment."""
        async for message in self._link.messages():
            await self._take(message)
            if self._stopped:
                break
        self._stopped = True
        await self._refresh()
        await asyncio.sleep(LINGER_S)

    async def _prepare(self) -> None:
        guard.install()
        settings = self._settings
        guarded = guard.GuardedServer(settings, self._reports)
        guarded.bind_condition_methods = 1  # also the severity of its events
        self._server = server = Server(iserver=guarded)
        server.name, server.manufacturer_name = "edge-ad", "edge-ad"
        server.product_uri = "urn:edge-ad"
        server.limits = TransportLimits(
            _CHUNK_BYTES, _CHUNK_BYTES, limits.MESSAGE_BYTES // _CHUNK_BYTES, limits.MESSAGE_BYTES
        )
        await server.init()
        await server.set_application_uri(settings.uri)
        now = datetime.now(timezone.utc)
        await server.set_build_info(
            server.product_uri, "edge-ad", "edge-ad", settings.version, "", now
        )
        server.set_endpoint(settings.url)
        await self._set_security()
        self._space = await AddressSpace.make(server)
        self._notifier = Notifier(server, self._space)
        await self._notifier.define()
        self._conditions = Conditions(server, self._space, self._notifier, self._link.acknowledge)
        await self._conditions.define()
        good = Quality.GOOD
        await self._space.write(
            "Line.", {"Version": (settings.version, good), "StartTime": (now, good)}
        )
        await self._refresh()

    async def _set_security(self) -> None:
        policies = [ua.SecurityPolicyType.NoSecurity] if self._settings.plain else []
        if self._settings.certificate:
            policies.append(ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt)
            await self._server.load_certificate(self._settings.certificate)
            await self._server.load_private_key(self._settings.key)
        self._server.set_security_policy(policies)

    async def _take(self, message: Message) -> None:
        self._beat_s = time.monotonic()
        if "stop" in message:
            self._stopped = True
        for camera in message.get("cameras", []):
            await self._camera(camera)
        if "paused" in message:
            await self._pause(**message["paused"])
        if "result" in message:
            await self._take_result(message["result"], message["counts"], message["at_s"])
        if "alarm" in message:
            record = message["alarm"]
            state = await self._camera(record["camera"])
            await self._conditions.update(record)
            state.fault = self._conditions.fault(state.name)
            await self._refresh_camera(state)

    async def _pause(self, *, camera: str, paused: bool, forget: bool) -> None:
        state = await self._camera(camera)
        state.paused = paused
        if forget:
            state.at_s = -math.inf
        await self._refresh_camera(state)

    async def _take_result(
        self, result: Mapping[str, Any], counts: Mapping[str, int], at_s: float
    ) -> None:
        state = await self._camera(result["camera"])
        state.result, state.counts, state.at_s = result, counts, at_s
        values = await self._refresh_camera(state)
        fields = {name: values[f"Result.{name}"][0] for name in RESULT_EVENT}
        fields["Fail"] = result["verdict"] == "REJECT"  # also while a camera fault stands
        await self._notifier.result(state.name, fields, 1 if fields["Pass"] else 500)

    async def _camera(self, name: str) -> ShownCamera:
        if name not in self._cameras:
            await self._space.add_camera(name)
            await self._conditions.add_camera(name)
            self._cameras[name] = ShownCamera(name)
            await self._refresh_camera(self._cameras[name])
        return self._cameras[name]

    async def _watch(self) -> None:
        """Beat once a second, and look for what has become stale."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if int(time.monotonic()) != self._second:
                self._second = int(time.monotonic())
                self._link.send({"beat": self._second})
                self._count_beats()
            await self._refresh()

    def _count_beats(self) -> None:
        for state in self._cameras.values():
            kind, _ = state.state(time.monotonic(), self._settings.stale_s, alive=self._alive)
            state.beats += kind.value == "Operational"
        self._beats += self._alive

    @property
    def _alive(self) -> bool:
        return not self._stopped and time.monotonic() - self._beat_s < SILENCE_S

    async def _refresh(self) -> None:
        alive = self._alive
        await self._space.write(
            "Line.",
            {
                "Heartbeat": (self._beats & 0xFFFFFFFF, Quality.GOOD),
                "State": ("Running" if alive else "Halted", Quality.GOOD),
            },
        )
        for state in list(self._cameras.values()):
            await self._refresh_camera(state)

    async def _refresh_camera(self, state: ShownCamera) -> dict[str, Any]:
        values = state.values(time.monotonic(), self._settings.stale_s, alive=self._alive)
        await self._space.write(f"{state.name}/", values)
        return values
