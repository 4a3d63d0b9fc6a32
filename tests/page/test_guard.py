"""Requests that this page's browser would not send are refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from edge_ad.page.guard import AllowedHosts
from edge_ad.page.person import Role
from edge_ad.page.routes import ROUTES, Route
from edge_ad.page.view import Answer, Json, PageRequest
from tests.page.served import ServedPage, make_store, served
from tests.timing import LIMIT_S


def echo(request: PageRequest) -> Answer:
    return Json({"got": dict(request.body)})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    folder = make_store(tmp_path_factory.mktemp("line"))
    with served(folder, (*ROUTES, Route("POST", "/echo", Role.VIEWER, echo))) as page:
        yield page


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "10.0.0.1", "localhost.evil.example", "[", "a@b:x"]
)
def test_a_foreign_host_is_refused(page: ServedPage, host: str) -> None:
    answer = page.get("/", Host=host)
    assert answer.status == 421
    assert "<html" not in answer.text


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8080", "127.1.1.1"]
)
def test_this_computers_names_are_answered(page: ServedPage, host: str) -> None:
    assert page.get("/", Host=host).status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://["]
)
def test_a_foreign_origin_is_refused(page: ServedPage, origin: str) -> None:
    assert page.get("/", Origin=origin).status == 403
    assert page.post("/echo", Origin=origin).status == 403


def test_refusals_say_what_a_proxy_must_do(page: ServedPage) -> None:
    assert "--allowed-host" in page.get("/", Host="line1").text
    answer = page.post("/echo", Host="127.0.0.1:8080", Origin="https://line1")
    assert "A proxy must pass on the Host" in answer.json["error"]


def test_a_websocket_without_an_origin_is_refused(page: ServedPage) -> None:
    answer = page.get("/live", Upgrade="websocket", Connection="Upgrade")
    assert answer.status == 403 and "A WebSocket needs an Origin" in answer.text


def test_a_post_is_answered_with_its_header_and_json_only(page: ServedPage) -> None:
    origin = f"http://{page.host}"
    assert page.post("/echo", {"a": 1}, Origin=origin).json == {"got": {"a": 1}}
    assert page.post("/echo", {"a": 1}, X_Edge_Ad="").status == 403
    assert page.post("/echo", {"a": 1}, Content_Type="text/plain").status == 415
    assert page.post("/echo", {"a": 1}, Sec_Fetch_Site="cross-site").status == 403
    assert page.post("/echo", [1]).status == 400


def test_a_body_has_a_limit(page: ServedPage) -> None:
    assert page.post("/echo", {"a": "x" * 70_000}).status == 413
    assert page.post("/echo", {"a": "x" * 60_000}).status == 200


def test_deep_and_broken_json_is_refused(page: ServedPage) -> None:
    headers = {"Content-Type": "application/json", "X-Edge-Ad": "page"}
    for body in (b"[" * 50_000, b'{"a":', b"\xff", b"null"):
        assert page.ask("POST", "/echo", headers, body).status == 400


@pytest.mark.parametrize(("expect", "status"), [("\udced", 417), ("x", 417), ("100-Continue", 200)])
def test_only_a_body_may_be_expected(page: ServedPage, expect: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", page.port), timeout=LIMIT_S) as connection:
        head = (
            f"GET / HTTP/1.1\r\nHost: {page.host}\r\nConnection: close\r\nExpect: {expect}\r\n\r\n"
        )
        connection.sendall(head.encode("utf-8", "surrogateescape"))
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert f"HTTP/1.1 {status} " in answer and " 500 " not in answer


def test_every_answer_has_the_headers_that_protect_it(page: ServedPage) -> None:
    for answer in (page.get("/"), page.get("/nothing"), page.get("/", Host="evil.example")):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Server"] == "edge-ad"


def test_off_loopback_an_address_in_digits_is_answered_and_no_unknown_name() -> None:
    hosts = AllowedHosts(frozenset({"line3.plant"}), loopback=False)
    assert "10.0.0.7:8443" in hosts and "LINE3.plant" in hosts and "[fe80::1]" in hosts
    assert "evil.example" not in hosts and "" not in hosts
