"""Send the live view to browsers: one reader of the line for all tabs, a WebSocket for each.

A browser asks with one word for each message and gets the latest then, so that a slow or sleeping
tab never has a backlog. Without any tab the line is not asked, and it encodes no frame.
"""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from edge_ad.control.address import ATTACHED
from edge_ad.control.client import LineLink
from edge_ad.images import encode_image
from edge_ad.page.certificates import CertificateWatch
from edge_ad.page.live import live_values
from edge_ad.page.snapshot import Snapshot, StoreHour, look, read_hour
from edge_ad.page.texts import Texts

_log = logging.getLogger(__name__)
_PACE_S = 0.2  # between frames
_STATUS_S = 1.0  # a message even when no part came, so that a browser knows that we live
_ASKS_WITHIN_S = 30.0  # a tab that does not ask is gone
_TAKES_WITHIN_S = 10.0  # and one that does not read
_CLOSES_WITHIN_S = 0.5
_MOST_TABS = 32
_QUALITY = 75  # of JPEGs
_LENGTH = struct.Struct("!I")  # of the JSON before the frames


class LiveFeed:
    """Reads the line while somebody looks, and streams to their sockets."""

    def __init__(self, folder: Path, certificate: Path | None = None) -> None:
        self._folder = folder
        self._certificates = CertificateWatch(folder, certificate)
        self._link = LineLink(folder)
        self._hour, self._hour_s = StoreHour(), float("-inf")
        self._frames: dict[str, tuple[int, bytes]] = {}  # part and JPEG of each camera
        self._snapshot = Snapshot(None, self._hour)
        self._changed, self._stopping = asyncio.Condition(), asyncio.Lock()
        self._turn = self._first_turn = 0  # looks at the line, and those before this reader
        self._sockets: set[web.WebSocketResponse] = set()
        self._reader: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(1, "live")

    async def stream(
        self, request: web.Request, texts: Texts, is_allowed: Callable[[], bool]
    ) -> web.WebSocketResponse:
        """Serve one tab until it leaves, does not read, or is not allowed any more."""
        if len(self._sockets) >= _MOST_TABS:
            raise web.HTTPServiceUnavailable(text=f"More than {_MOST_TABS} tabs look.")
        socket = web.WebSocketResponse(
            timeout=_CLOSES_WITHIN_S, max_msg_size=1024, compress=False, autoping=True
        )
        await socket.prepare(request)
        async with self._looking(socket):
            try:
                await self._serve(socket, texts, is_allowed)
            except (asyncio.TimeoutError, ConnectionError):
                _log.debug("a tab of %s does not read", request.remote)
        await socket.close()
        return socket

    async def close(self) -> None:
        """End all streams."""
        tabs = [socket.close(code=1001) for socket in self._sockets]
        await asyncio.gather(*tabs, return_exceptions=True)
        await self._stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _serve(
        self, socket: web.WebSocketResponse, texts: Texts, is_allowed: Callable[[], bool]
    ) -> None:
        sent: dict[str, int] = {}
        turn = self._first_turn
        while True:
            asked = await socket.receive(_ASKS_WITHIN_S)
            if asked.type is not WSMsgType.TEXT or asked.data != "next" or not is_allowed():
                return
            turn = await self._next_turn(turn)
            message = self._message(sent, texts)
            await asyncio.wait_for(socket.send_bytes(message), _TAKES_WITHIN_S)

    async def _next_turn(self, turn: int) -> int:
        async with self._changed:
            await self._changed.wait_for(lambda: self._turn > turn)
        return self._turn

    def _message(self, sent: dict[str, int], texts: Texts) -> bytes:
        """Return the state, and the frames that a tab does not have; `sent` is brought up to it."""
        values = live_values(self._snapshot, texts)
        jpegs = []
        for camera in values["cameras"]:
            part, jpeg = self._frames.get(camera["camera"], (0, b""))
            fresh = camera["part"] == part and sent.get(camera["camera"]) != part
            camera["bytes"] = len(jpeg) if fresh else 0
            if fresh:
                jpegs.append(jpeg)
                sent[camera["camera"]] = part
        head = json.dumps(values, allow_nan=False).encode()
        return b"".join((_LENGTH.pack(len(head)), head, *jpegs))

    @asynccontextmanager
    async def _looking(self, socket: web.WebSocketResponse) -> AsyncIterator[None]:
        self._sockets.add(socket)
        if self._reader is None:
            self._first_turn = self._turn
            self._reader = asyncio.create_task(self._read())
        try:
            yield
        finally:
            self._sockets.discard(socket)
            if not self._sockets:
                await self._stop()

    async def _stop(self) -> None:
        async with self._stopping:
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._pool, self._link.close)
            self._frames = {}

    async def _read(self) -> None:
        """Ask the line again and again, at most every `_PACE_S`."""
        loop = asyncio.get_running_loop()
        sent: dict[str, int] | None = None
        sent_s = float("-inf")
        while True:
            began = time.monotonic()
            try:
                self._snapshot = await loop.run_in_executor(self._pool, self._look)
            except Exception:  # tabs would wait for ever
                _log.exception("the live view cannot be read")
                await asyncio.sleep(_STATUS_S)
                continue
            parts = {camera: part for camera, (part, _) in self._frames.items()}
            if parts != sent or began - sent_s > _STATUS_S:
                sent, sent_s = parts, began
                async with self._changed:
                    self._turn += 1
                    self._changed.notify_all()
            await asyncio.sleep(max(0.02, _PACE_S - (time.monotonic() - began)))

    def _look(self) -> Snapshot:
        """Read the line, and once a second the store; keep the frames that are new."""
        if time.monotonic() - self._hour_s > _STATUS_S:
            self._hour, self._hour_s = read_hour(self._folder), time.monotonic()
        known = {camera: part for camera, (part, _) in self._frames.items()}
        snapshot = look(self._link, self._hour, known)
        self._keep_frames(snapshot.line or {})
        named = snapshot.line.get("certificates", ()) if snapshot.line else ()
        return replace(snapshot, ending=self._certificates.ending(named))

    def _keep_frames(self, line: Mapping[str, Any]) -> None:
        attached, at = line.get(ATTACHED, b""), 0
        for camera in line.get("cameras", ()):
            latest = camera["latest"] or {}
            if hw := latest.get("frame_hw"):
                size = hw[0] * hw[1] * 3
                frame = np.frombuffer(attached, np.uint8, size, at).reshape(*hw, 3)
                jpeg = encode_image(frame, ".jpg", _QUALITY)
                self._frames[camera["camera"]] = (latest["part"], jpeg)
                at += size
