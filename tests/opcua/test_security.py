"""What clients may not do: refused, reported once, and without harm to others."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("asyncua")
from asyncua import Client, ua

from edge_ad.event import AlarmStep
from edge_ad.opcua import limits
from edge_ad.store.event import alarm_event
from edge_ad.store.reading import EventFilter, read_events
from edge_ad.store.store import Store
from tests.opcua.served import (
    PASSWORD,
    USER,
    Peer,
    Served,
    alarm,
    free_port,
    make_client_certificate,
    part,
)
from tests.timing import LIMIT_S, wait_until

pytestmark = pytest.mark.slow
ACKNOWLEDGE = ua.NodeId(ua.ObjectIds.AcknowledgeableConditionType_Acknowledge)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("line")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    store = Store(folder)
    yield store
    store.close()


@pytest.fixture(scope="module")
def served(folder: Path, store: Store) -> Iterator[Served]:
    """Serve on loopback: anybody reads, one user acknowledges."""
    served = Served(
        free_port(),
        f"{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{{port}}?pki={folder / 'pki'}"
        "&stale_ms=600000",
        client_certificate=make_client_certificate(folder / "client"),
    )
    served.open(["top"], store)
    try:
        served.wait_until_ready()
        yield served
    finally:
        served.outlet.close()


def test_a_user_acknowledges_an_alarm_under_the_user_s_name(
    served: Served, store: Store, folder: Path
) -> None:
    async def check() -> None:
        store.record(alarm_event(alarm(AlarmStep.NEW, "d-1")))
        served.alarmed(alarm(AlarmStep.NEW, "d-1"))
        async with served.connected(USER) as peer:
            path = "top/Alarms.Defect."
            await peer.wait_for(f"{path}AlarmId", "d-1")
            assert await peer.value(f"{path}AckedState.Id") is False
            event_id = await peer.value(f"{path}EventId")
            condition = peer.node("top/Alarms.Defect")
            await condition.call_method(ACKNOWLEDGE, event_id, ua.LocalizedText("glue, cleaned"))
            assert await peer.value(f"{path}AckedState.Id") is True
            assert await peer.value(f"{path}ClientUserId") == USER
            assert (await peer.value(f"{path}Comment")).Text == "glue, cleaned"
            with pytest.raises(ua.UaStatusCodeError, match="BadConditionBranchAlreadyAcked"):
                await condition.call_method(ACKNOWLEDGE, event_id, ua.LocalizedText())
            served.alarmed(alarm(AlarmStep.END, "d-1"))
            await peer.wait_for(f"{path}Retain", value=False)

    asyncio.run(check())
    (note,) = read_events(folder, EventFilter(types=("ack",)))
    assert (note["who"], note["reason"], note["alarm"]) == (USER, "glue, cleaned", "d-1")


def test_a_client_without_a_user_reads_and_does_nothing_else(served: Served) -> None:
    async def check() -> None:
        served.inspected(part(1))
        async with served.connected() as peer:
            await peer.wait_for("top/Result.PartNumber", 1)
            client = peer.client
            node = peer.node("top/Result.Pass")
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await node.write_value(ua.Variant(Value=True))
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await peer.node("top/Alarms.Defect").call_method(
                    ACKNOWLEDGE, b"x", ua.LocalizedText()
                )
            for refused in (
                client.nodes.objects.add_object(peer.namespace, "mine"),
                client.delete_nodes([node]),
                client.get_node(ua.ObjectIds.Server).read_event_history(),
            ):
                with pytest.raises(ua.UaStatusCodeError, match="BadServiceUnsupported"):
                    await refused
            assert await peer.value("top/Result.Pass") is True

    asyncio.run(check())


def test_logins_that_are_wrong_are_refused(served: Served) -> None:
    async def check(user: str, password: str) -> None:
        async with served.connected(user, password):
            pass

    for user, password in ((USER, "wrong"), (USER, ""), ("admin", "admin"), ("Admin", PASSWORD)):
        with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
            asyncio.run(check(user, password))
    asyncio.run(check(USER, PASSWORD))


def test_a_password_over_an_unencrypted_connection_is_refused(served: Served) -> None:
    async def check() -> None:
        endpoints = await Client(served.url).connect_and_get_server_endpoints()
        kinds = {
            endpoint.SecurityMode.name: {
                token.TokenType.name for token in endpoint.UserIdentityTokens
            }
            for endpoint in endpoints
        }
        assert kinds == {"None_": {"Anonymous"}, "SignAndEncrypt": {"Anonymous", "UserName"}}
        client = Client(served.url)
        client.set_user(USER)
        client.set_password(PASSWORD)
        with pytest.raises((ua.UaError, ua.UaStatusCodeError)):
            await client.connect()

    asyncio.run(check())


def test_a_session_belongs_to_its_connection(served: Served) -> None:
    """Try what asyncua allows: to activate the session of another connection by its number."""

    async def check() -> None:
        async with served.connected(USER) as peer, served.connected() as stranger:
            token = peer.client.uaclient.protocol.authentication_token
            client = Client(served.url)
            await client.connect_socket()
            await client.send_hello()
            await client.open_secure_channel()
            client.uaclient.protocol.authentication_token = token
            with pytest.raises(ua.UaStatusCodeError, match="BadSessionIdInvalid"):
                await client.activate_session()
            await client.close_secure_channel()
            client.disconnect_socket()
            subscription = await peer.client.create_subscription(100, None)
            results = await stranger.client.uaclient.delete_subscriptions(
                [subscription.subscription_id]
            )
            assert [result.name for result in results] == ["BadSubscriptionIdInvalid"]

    asyncio.run(check())


def test_a_session_that_is_not_activated_is_nobody(served: Served) -> None:
    async def check() -> None:
        client = Client(served.url)
        await client.connect_socket()
        await client.send_hello()
        await client.open_secure_channel()
        with pytest.raises(ua.UaStatusCodeError, match="BadSessionIdInvalid"):
            await client.nodes.server_state.read_value()
        await client.create_session()
        with pytest.raises(ua.UaStatusCodeError, match="BadSessionNotActivated"):
            await client.nodes.server_state.read_value()
        with pytest.raises(ua.UaStatusCodeError, match="BadTooManySessions"):
            await client.create_session()
        client.disconnect_socket()

    asyncio.run(check())


def test_what_a_client_may_take_has_caps(served: Served) -> None:
    async def check() -> None:
        async with served.connected() as peer:
            subscriptions = [
                await peer.client.create_subscription(1, Ignored())
                for _ in range(limits.SUBSCRIPTIONS)
            ]
            with pytest.raises(ua.UaStatusCodeError, match="BadTooManySubscriptions"):
                await peer.client.create_subscription(100, Ignored())
            first = subscriptions[0]
            node = peer.node("top/Result.Score")
            await first.subscribe_data_change([node] * limits.ITEMS, queuesize=10**6)
            with pytest.raises(ua.UaStatusCodeError, match="BadTooManyMonitoredItems"):
                await subscriptions[1].subscribe_data_change([node])
            with pytest.raises(ua.UaStatusCodeError, match="BadTooManyOperations"):
                await peer.client.read_attributes([node] * (limits.NODES + 1))
            assert await peer.value("top/Result.Score") is not None

    asyncio.run(check())


def test_connections_have_a_cap(served: Served) -> None:
    strangers = [_connect(served) for _ in range(limits.CONNECTIONS + 5)]
    refused: set[socket.socket] = set()

    def five_are_refused() -> bool:
        answered, _, _ = select.select([one for one in strangers if one not in refused], [], [], 0)
        refused.update(filter(_is_closed, answered))
        return len(refused) >= 5

    wait_until(five_are_refused)
    for stranger in strangers:
        stranger.close()
    asyncio.run(_read(served))


def test_garbage_closes_its_own_connection_only(served: Served) -> None:
    endless = struct.pack("<3scI", b"HEL", b"F", 2**31) + b"x" * (limits.MESSAGE_BYTES + 70_000)
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"HELF" + b"\xff" * 60, endless):
        with _connect(served) as stranger:
            try:
                stranger.sendall(data)
                stranger.sendall(b"more")
            except OSError:
                pass
    asyncio.run(_read(served))


def test_each_kind_of_attempt_is_reported_once(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(kind: Any) -> None:
        async with served.connected() as peer:
            for _ in range(3):
                with pytest.raises(ua.UaStatusCodeError):
                    await kind(peer)

    async def link(peer: Peer) -> None:
        await peer.node("top/").add_reference(peer.node("Line"), ua.ObjectIds.Organizes)

    async def log_in_wrongly() -> None:
        with pytest.raises(ua.UaStatusCodeError):
            async with served.connected("somebody", "not the password"):
                pass

    with caplog.at_level(logging.WARNING, "edge_ad"):
        for _ in range(2):
            asyncio.run(check(link))
            asyncio.run(log_in_wrongly())
        wait_until(lambda: "refused AddReferences" in caplog.text)  # the server's process says so
        assert caplog.text.count("refused AddReferences from 127.0.0.1") == 1
        assert "not the password" not in caplog.text


class Ignored:
    """Receives notifications."""

    def datachange_notification(self, *_: Any) -> None: ...


async def _read(served: Served) -> None:
    for _ in range(100):
        try:
            async with served.connected() as peer:
                assert await peer.value("Line.State") == "Running"
                return
        except (OSError, asyncio.TimeoutError, ConnectionError):
            await asyncio.sleep(0.1)
    raise AssertionError("nobody is let in any more")


def _connect(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), LIMIT_S)


def _is_closed(stranger: socket.socket) -> bool:
    stranger.settimeout(0.3)
    try:
        return stranger.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
