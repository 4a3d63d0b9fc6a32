"""One HTTP request: which address of a name it goes to."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from edge_ad.outlet.http_client import HttpRequest
from tests.outlet.web import web_server
from tests.timing import LIMIT_S


def test_a_name_whose_first_address_is_dead_costs_time_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []
    connect, resolve = socket.create_connection, socket.getaddrinfo

    def resolve_both(host: str, *port: Any, **types: Any) -> list[Any]:
        hosts = ["127.0.0.2", "127.0.0.1"] if host == "two.example" else [host]
        return [info for each in hosts for info in resolve(each, *port, **types)]

    def note(address: tuple[str, int], *limits: Any) -> socket.socket:
        tried.append(address[0])
        return connect(address, *limits)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_both)
    monkeypatch.setattr(socket, "create_connection", note)
    with web_server() as server:
        url = urlsplit(server.url.replace("127.0.0.1", "two.example"))
        request = HttpRequest(url, None, connect_s=LIMIT_S, total_s=LIMIT_S)
        for _ in range(3):
            assert request.post(b"{}", {}, "/hook").status == 200
        assert len(server.bodies) == 3
    assert tried == ["127.0.0.2", "127.0.0.1", "127.0.0.1", "127.0.0.1"]
    with pytest.raises(OSError):  # both are gone
        request.post(b"{}", {}, "/hook")
    assert tried[4:] == ["127.0.0.1", "127.0.0.2"]
