"""A control socket that closes as a client comes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edge_ad.control.address import connect_to
from edge_ad.control.refusals import Refusals
from edge_ad.control.server import ControlSocket, Limits
from tests.beside import Beside
from tests.timing import LIMIT_S


def test_a_client_that_comes_as_the_line_stops_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_before_it_is_noted(connection: socket.socket) -> int:
        closing()
        return id(connection)

    never = Limits(idle_s=2 * LIMIT_S)
    server = ControlSocket(tmp_path, lambda *_: {}, Refusals(lambda *_: None), never)
    closing = Beside(server.close)
    monkeypatch.setattr(socket.socket, "__hash__", close_before_it_is_noted)
    with connect_to(server.path, LIMIT_S) as client:
        assert client.recv(1) == b""
    closing.result()
