"""Show the line to OPC UA clients, by a server in a process beside it."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from datetime import datetime, timezone

from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection, Verdict
from edge_ad.opcua.settings import ServerSettings
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.opcua_feed import Feed
from edge_ad.outlet.opcua_options import server_settings
from edge_ad.outlet.opcua_process import ServerProcess
from edge_ad.setting import Setting, SettingChange
from edge_ad.store.store import Store
from edge_ad.uri import Uri

_LEFT_S = 6.0  # for the server of a line that has just ended to leave its port


def open_opcua(uri: Uri) -> Outlet:
    """Open `opcua://HOST:PORT`. Raises UsageError, MissingExtra, or OSError for a port in use."""
    settings = server_settings(uri)
    _check_port(settings.host, settings.port)
    return OpcUaOutlet(str(uri), settings)


class OpcUaOutlet(Outlet):
    """Hands states and alarms to the server, which is started again when it dies.

    A call only keeps what it is given; a thread does the rest. The server shows no PASS when it is
    given nothing fresh.
    """

    def __init__(self, name: str, settings: ServerSettings) -> None:
        self._name, self._url = name, settings.url
        began = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"
        self._feed = Feed(began)
        self._process = ServerProcess(name, settings, self._feed)
        self._process.start()

    @property
    def name(self) -> str:
        return self._name

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        self._feed.cameras(cameras)
        self._process.use_store(store)

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self._feed.result(inspection)

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        self._feed.alarm(event)
        if event.test:
            self._show_test(event)

    def setting_changed(self, change: SettingChange) -> None:
        if change.setting is Setting.PAUSED:
            self._feed.paused(change.camera, paused=bool(change.new))

    def close(self) -> None:
        self._process.close()

    def _show_test(self, event: AlarmEvent) -> None:
        """Show a simulated result too, and wait until clients can read it. Raises OSError."""
        self._feed.result(
            Inspection(
                Verdict.REJECT,
                event.peak_score,
                event.threshold,
                camera=event.camera,
                time_utc=event.time_utc,
            ),
            test=True,
        )
        self._process.wait_until_serving()
        self.answer = f"serves {self._url}"


def _check_port(host: str, port: int) -> None:
    """Raise OSError when the port cannot be listened on, also not in a moment."""
    until = time.monotonic() + _LEFT_S
    while True:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return
        except socket.gaierror as error:
            raise OSError(f"{host}: {error.strerror}") from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
            time.sleep(0.1)
