"""Visitors who open connections and do nothing lose them, and keep no other out."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.page.connections import ConnectionLimits
from edge_ad.page.person import Role
from edge_ad.page.routes import ROUTES, Route
from edge_ad.page.view import Answer, PageRequest, Stream
from tests.control.lines import wait_for
from tests.outlet.web import certificate
from tests.page.served import ServedPage, Tab, make_store, served
from tests.timing import LIMIT_S


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_store(tmp_path)


@contextlib.contextmanager
def visitors(page: ServedPage, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections, each of which says the same."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", page.port), LIMIT_S)
            opened.append(stack.enter_context(one))
            with contextlib.suppress(OSError):  # closed already
                one.sendall(said)
        yield opened


def is_ended(visitor: socket.socket) -> bool:
    """Wait for the next byte, and return whether it is the end."""
    try:
        return visitor.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "])
def test_a_request_that_does_not_end_ends_its_connection(folder: Path, said: bytes) -> None:
    limits = ConnectionLimits(idle_s=0.1, look_every_s=0.05)
    with served(folder, limits=limits) as page, visitors(page, 1, said) as (visitor,):
        assert is_ended(visitor)


def test_hundreds_of_idle_connections_keep_no_visitor_out(folder: Path) -> None:
    limits = ConnectionLimits(of_address=8)
    with served(folder, limits=limits) as page, visitors(page, 60, b"GET / HT") as opened:
        for _ in range(3):
            assert page.get("/").status == 200
        # the idlest gave way
        assert all(is_ended(visitor) for visitor in opened[:52])


def test_the_limit_in_all_holds_too(folder: Path) -> None:
    limits = ConnectionLimits(in_all=4)
    with served(folder, limits=limits) as page, visitors(page, 10) as opened:
        assert page.get("/").status == 200
        assert all(is_ended(visitor) for visitor in opened[:6])


def test_who_looks_stays_however_long(folder: Path) -> None:
    clock, limits = Clock(), ConnectionLimits(look_every_s=0.05)
    with (
        served(folder, clock=clock, limits=limits) as page,
        Tab(page) as tab,
        visitors(page, 1, b"G") as (one,),
    ):
        tab.next()
        clock.now_s += 1000.0
        assert is_ended(one)
        assert not tab.next()["running"]


def test_beyond_the_limit_no_connection_that_is_served_gives_way(folder: Path) -> None:
    limits = ConnectionLimits(of_address=2)
    with served(folder, limits=limits) as page, Tab(page) as first:
        with Tab(page) as second, visitors(page, 1) as (third,):
            assert is_ended(third)
            assert not first.next()["running"] and not second.next()["running"]


def endless(request: PageRequest) -> Answer:
    return Stream(itertools.repeat(bytes(1 << 20)), "application/zip", "endless.zip")


def test_a_download_whose_bytes_are_not_taken_ends(folder: Path) -> None:
    routes = (*ROUTES, Route("GET", "/endless", Role.VIEWER, endless))
    limits = ConnectionLimits(takes_s=0.1, look_every_s=0.05)
    said = b"GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with served(folder, routes, limits=limits) as page, visitors(page, 1, said) as (visitor,):
        assert visitor.recv(8) == b"HTTP/1.1"
        wait_for(lambda: not page.count_connections())
        with pytest.raises(ConnectionError):  # cut off: a browser does not take it for complete
            while piece := visitor.recv(1 << 20):
                assert b"0\r\n\r\n" not in piece
            raise ConnectionError


def test_who_opens_tls_and_says_nothing_gives_way_too(folder: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cafile = certificate(folder)
    tls.load_cert_chain(cafile)
    limits = ConnectionLimits(of_address=8, tls_s=0.1)
    with served(folder, limits=limits, tls=tls) as page, visitors(page, 30, b"\x16") as opened:
        assert all(is_ended(visitor) for visitor in opened)
        trusting = ssl.create_default_context(cafile=cafile)

        def is_answered() -> bool:  # a busy computer may need more than the tenth of a second
            with (
                contextlib.suppress(OSError),
                visitors(page, 1) as (plain,),
                trusting.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
            ):
                encrypted.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                return encrypted.recv(12) == b"HTTP/1.1 200"
            return False

        wait_for(is_answered)
