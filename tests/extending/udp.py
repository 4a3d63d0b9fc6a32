"""Send alarm events as UDP datagrams, one JSON object each."""

from __future__ import annotations

import json
import socket

from edge_ad.errors import UsageError
from edge_ad.event import AlarmEvent
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.records import alarm_record
from edge_ad.uri import Uri


def open_udp(uri: Uri) -> Outlet:
    """Open `udp://HOST:PORT`."""
    host, _, port = uri.place.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{uri}: expected a host and a port, such as udp://192.168.0.10:5005.")
    return UdpOutlet(host, int(port))


class UdpOutlet(Outlet):
    """Sends every step of every alarm. It works with no listener."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        record = json.dumps(alarm_record(event))
        self._socket.sendto(record.encode(), self._address)  # OSError: lost, counted, reported

    def close(self) -> None:
        self._socket.close()
