"""Restore what people have set on a line, and let them change it through its socket."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Mapping

from edge_ad.closeable import ClosedAtExit
from edge_ad.control.commands import Commands
from edge_ad.control.messages import parse_request
from edge_ad.control.refusals import Refusals
from edge_ad.control.server import ControlSocket
from edge_ad.errors import EdgeAdError, OutletLost, UsageError
from edge_ad.line.settings import LineSettings
from edge_ad.line.supervisor import Supervisor
from edge_ad.outlet.latest_frames import LatestFrames
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.settings import read_kept
from edge_ad.store.store import Store

_log = logging.getLogger(__name__)


class LineControl(ClosedAtExit):
    """The control of a line whose store is open; make it before the line starts.

    `settings` has what people set before. Raises OutletLost when the store cannot be read.
    """

    def __init__(self, line: Supervisor, store: Store) -> None:
        self._line, self._store = line, store
        self.settings = LineSettings(line)
        try:
            self.settings.restore(read_kept(store.path))
        except sqlite3.Error as error:
            raise OutletLost(f"{store.path}: cannot be read ({error}).") from error
        self._refusals = Refusals(self._record_refused)
        self._latest = LatestFrames()
        line.outlets.add(self._latest)
        self._socket: ControlSocket | None = None
        self._commands: Commands | None = None

    def start(self) -> None:
        """Open the socket, after the line has started; a line goes on without one."""
        self.settings.report_restored()
        commands = Commands(self._line, self.settings, self._store, self._refusals, self._latest)
        self._commands = commands
        self._line.outlets.controlled(self._ask)
        folder = self._store.path.parent
        try:
            self._socket = ControlSocket(folder, commands, self._refusals)
        except OSError as error:
            _log.warning(
                "%s: no control socket (%s). The line runs, but edge-ad ctl cannot reach it.",
                *(folder, error.strerror or error),
            )

    def close(self) -> None:
        """Remove the socket, and refuse what outlets ask from now on."""
        self._commands = None
        if self._socket is not None:
            self._socket.close()

    def _ask(self, request: Mapping[str, object], who: str) -> Mapping[str, object]:
        """Answer a request that came through an outlet; what is refused is reported once."""
        commands = self._commands
        try:
            if commands is None:
                raise UsageError("the line is stopping.")
            return commands(parse_request(json.dumps(request).encode()), who)
        except EdgeAdError as error:
            self._refusals.add(who, str(error))
            return {"type": "error", "message": str(error)}

    def _record_refused(self, user: str, reason: str, count: int) -> None:
        _log.warning("control: a message of %s was refused: %s", user, reason)
        event = StoreEvent(EventType.CONTROL, step="refused", who=user, reason=reason, count=count)
        self._store.record(event)
