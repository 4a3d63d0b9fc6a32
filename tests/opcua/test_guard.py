"""What the guard lets through, without a network."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

ua = pytest.importorskip("asyncua.ua")

from asyncua.common.connection import TransportLimits  # noqa: E402
from asyncua.common.utils import ServiceError  # noqa: E402

from edge_ad.opcua import limits  # noqa: E402
from edge_ad.opcua.guard import GuardedProcessor, GuardedProtocol, GuardedServer  # noqa: E402
from edge_ad.opcua.reports import Reports  # noqa: E402
from edge_ad.opcua.settings import ServerSettings  # noqa: E402

LIMITS = TransportLimits()
USERS = {"anna": "correct horse"}


class Transport:
    """A client's connection; `unsent` bytes wait for it to read."""

    def __init__(self) -> None:
        self.unsent = 0
        self.closed: list[str] = []

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("10.0.0.9", 4840)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def close(self) -> None:
        self.closed.append("closed")

    def abort(self) -> None:
        self.closed.append("aborted")


def make_server(reports: list[str], **settings: Any) -> GuardedServer:
    return GuardedServer(
        ServerSettings("127.0.0.1", 4840, "urn:x", **settings), Reports(reports.append)
    )


@pytest.mark.parametrize("anonymous", [True, False])
@pytest.mark.parametrize("encrypted", [True, False])
def test_an_endpoint_offers_the_logins_that_are_taken(*, anonymous: bool, encrypted: bool) -> None:
    server = make_server([], users=USERS, anonymous=anonymous)
    mode = ua.MessageSecurityMode.SignAndEncrypt if encrypted else ua.MessageSecurityMode.None_
    kinds = (ua.UserTokenType.Anonymous, ua.UserTokenType.UserName, ua.UserTokenType.Certificate)
    tokens = [ua.UserTokenPolicy(TokenType=kind) for kind in kinds]
    server.add_endpoint(ua.EndpointDescription(SecurityMode=mode, UserIdentityTokens=tokens))
    (endpoint,) = server.endpoints
    offered = [token.TokenType for token in endpoint.UserIdentityTokens]
    assert offered == [
        kind for kind, taken in zip(kinds[:2], (anonymous, encrypted), strict=True) if taken
    ]


def test_a_session_whose_next_login_fails_may_do_nothing_more() -> None:
    async def check() -> None:
        processor = GuardedProcessor(make_server([]), Transport(), LIMITS)
        processor.session = session = processor.iserver.create_session(("10.0.0.9", 1))
        session.activate_session(ua.ActivateSessionParameters(), None)
        processor._check("Read", encrypted=False)
        token = ua.X509IdentityToken()
        with pytest.raises(ServiceError):
            session.activate_session(ua.ActivateSessionParameters(UserIdentityToken=token), None)
        with pytest.raises(ServiceError) as error:
            processor._check("Read", encrypted=False)
        assert error.value.code == ua.StatusCodes.BadUserAccessDenied
        processor._check("CloseSession", encrypted=False)
        await session.close_session()

    asyncio.run(check())


def protocol_with(transport: Transport, reports: list[str]) -> GuardedProtocol:
    """Return the protocol of a connection, without the tasks that serve it."""
    protocol = GuardedProtocol(make_server(reports), [], [], [], LIMITS)
    protocol.transport, protocol.peer_name = transport, ("10.0.0.9", 1)
    return protocol


def test_a_client_that_does_not_read_is_cut_off() -> None:
    reports: list[str] = []
    transport = Transport()
    protocol = protocol_with(transport, reports)
    transport.unsent = limits.UNSENT_BYTES
    protocol.data_received(b"M")
    assert transport.closed == []
    transport.unsent += 1
    protocol.data_received(b"S")
    assert transport.closed == ["aborted"]
    assert reports == ["refused a client that does not read from 10.0.0.9"]


def test_a_request_without_end_is_cut_off_and_forgotten() -> None:
    reports: list[str] = []
    transport = Transport()
    protocol = protocol_with(transport, reports)
    header = b"MSGF" + (1 << 30).to_bytes(4, "little")
    protocol.data_received(header + bytes(limits.MESSAGE_BYTES - len(header)))
    protocol.data_received(b"x")
    assert transport.closed == []
    protocol.data_received(b"x")
    assert transport.closed == ["aborted"] and protocol._buffer == b""
    assert reports == ["refused a request without end from 10.0.0.9"]


def test_a_connection_stays_for_as_long_as_it_has_a_session() -> None:
    async def check() -> None:
        transport = Transport()
        protocol = protocol_with(transport, [])
        server = protocol.iserver
        server.max_pending_activation_seconds = 0.0
        protocol.processor = GuardedProcessor(server, transport, LIMITS)
        protocol.processor.session = session = server.create_session(("10.0.0.9", 1))
        session.activate_session(ua.ActivateSessionParameters(), None)
        watchdog = asyncio.create_task(protocol._activation_watchdog())
        for _ in range(10):
            await asyncio.sleep(0)
        assert transport.closed == []
        await session.close_session()
        await watchdog
        assert transport.closed == ["closed"]

    asyncio.run(asyncio.wait_for(check(), 60))
