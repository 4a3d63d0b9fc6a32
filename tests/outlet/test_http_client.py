"""One HTTP request: which address of a name it goes to, and how long it waits for what."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from edge_ad.outlet.http_client import HttpRequest
from tests.outlet.web import raw_server, web_server
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


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_the_port_is_that_of_the_scheme(
    monkeypatch: pytest.MonkeyPatch, scheme: str, port: int
) -> None:
    def refuse(address: tuple[str, int], *_: Any) -> socket.socket:
        raise ConnectionRefusedError(str(address))

    monkeypatch.setattr(socket, "create_connection", refuse)
    request = HttpRequest(urlsplit(f"{scheme}://127.0.0.1/hook"), None, LIMIT_S, LIMIT_S)
    with pytest.raises(ConnectionRefusedError, match=rf"127\.0\.0\.1', {port}"):
        request.post(b"{}", {}, "/hook")


def test_a_proxy_may_be_named_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
        request = HttpRequest(urlsplit("http://mes.invalid/hook"), None, LIMIT_S, LIMIT_S)
        assert request.post(b"{}", {}, "/hook").status == 200
    assert proxy.paths == ["http://mes.invalid:80/hook"]


def _answer_late(connection: socket.socket) -> None:
    time.sleep(0.3)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_an_answer_may_take_longer_than_connecting() -> None:
    with raw_server(_answer_late) as url:
        request = HttpRequest(urlsplit(url), None, connect_s=0.1, total_s=LIMIT_S)
        assert request.post(b"{}", {}, "/").text == "ok"


def _drip_body(connection: socket.socket) -> None:
    """Answer as one that closes at the end, and send a body that does not end."""
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in itertools.count():
        connection.sendall(b"a")
        time.sleep(0.05)


def _stop_after_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    connection.recv(1)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("slow", [_drip_body, _stop_after_head])
def test_a_body_that_does_not_end_is_limited_too(slow: Callable[[socket.socket], None]) -> None:
    answers = [slow, _answer_late]
    with raw_server(lambda connection: answers.pop(0)(connection)) as url:
        request = HttpRequest(urlsplit(url), None, connect_s=LIMIT_S, total_s=0.3)
        with pytest.raises(TimeoutError, match=r"no answer in 0\.3 s"):
            request.post(b"{}", {}, "/")
        request._total_s = LIMIT_S
        assert request.post(b"{}", {}, "/").status == 200, "the next one is not ended"
