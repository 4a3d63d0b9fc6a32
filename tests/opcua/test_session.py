"""Sessions of clients, without a network."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
from typing import Any

import pytest

ua = pytest.importorskip("asyncua.ua")

from asyncua.common.utils import ServiceError  # noqa: E402

from edge_ad.opcua import limits  # noqa: E402
from edge_ad.opcua.filters import check_filter, within  # noqa: E402
from edge_ad.opcua.guard import GuardedServer  # noqa: E402
from edge_ad.opcua.reports import Reports  # noqa: E402
from edge_ad.opcua.session import GuardedSession  # noqa: E402
from edge_ad.opcua.settings import ServerSettings  # noqa: E402
from edge_ad.opcua.shown_camera import Quality  # noqa: E402


def make_server() -> GuardedServer:
    return GuardedServer(ServerSettings("127.0.0.1", 4840, "urn:x"), Reports(lambda text: None))


@pytest.mark.parametrize(("asked_ms", "given_ms"), [(0, 5e3), (3.6e6, 6e4), (3e4, 3e4)])
def test_the_time_that_a_session_may_be_idle_has_limits(asked_ms: float, given_ms: float) -> None:
    async def create() -> float:
        session = make_server().create_session(("10.0.0.9", 1), external=True)
        asked = ua.CreateSessionParameters(RequestedSessionTimeout=asked_ms)
        return float((await session.create_session(asked)).RevisedSessionTimeout)

    assert asyncio.run(create()) == given_ms


def test_an_idle_session_ends_with_its_subscriptions() -> None:
    server = make_server()

    async def idle() -> None:
        session = server.create_session(("10.0.0.9", 1), external=True)
        await session.create_session(ua.CreateSessionParameters())
        session.session_timeout = 0.01
        session.activate_session(ua.ActivateSessionParameters(), None)
        await session.create_subscription(ua.CreateSubscriptionParameters(), print)
        while server.subscription_service.subscriptions:
            await asyncio.sleep(0.01)
        assert not session.is_activated()

    asyncio.run(asyncio.wait_for(idle(), 60))


def test_a_subscription_that_ended_leaves_nothing() -> None:
    server = make_server()

    async def subscribe() -> None:
        for _ in range(20):
            session = server.create_session(("10.0.0.9", 1), external=True)
            result = await session.create_subscription(ua.CreateSubscriptionParameters(), print)
            assert result.RevisedPublishingInterval == limits.MIN_INTERVAL_MS
            await session.close_session()

    asyncio.run(subscribe())
    assert not server.subscription_service.subscriptions
    gc.collect()
    name = "asyncua.server.monitored_item_service."
    loggers = [each for each in gc.get_objects() if isinstance(each, logging.Logger)]
    assert [each.name for each in loggers if each.name.startswith(name)] == []


async def unheard(*_: Any) -> None:
    """Take notifications, and keep none."""


async def subscribed(server: GuardedServer) -> tuple[GuardedSession, int]:
    """Return a new session, and the number of its subscription."""
    session = server.create_session(("10.0.0.9", 1), external=True)
    result = await session.create_subscription(ua.CreateSubscriptionParameters(), unheard)
    return session, int(result.SubscriptionId)


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("create_monitored_items", ua.CreateMonitoredItemsParameters),
        ("delete_monitored_items", ua.DeleteMonitoredItemsParameters),
        ("set_monitoring_mode", ua.SetMonitoringModeParameters),
        ("set_publishing_mode", ua.SetPublishingModeParameters),
        ("modify_subscription", ua.ModifySubscriptionParameters),
        ("republish", ua.RepublishParameters),
    ],
)
def test_a_session_has_no_hand_in_the_subscriptions_of_others(call: str, parameters: Any) -> None:
    async def answer(session: GuardedSession, number: int) -> str:
        asked = parameters()
        if call == "set_publishing_mode":
            asked.SubscriptionIds = [number]
        else:
            asked.SubscriptionId = number
        try:
            result = getattr(session, call)(asked)
            if inspect.isawaitable(result):
                await result
        except ServiceError as error:
            return str(ua.StatusCode(error.code).name)
        return "done"

    async def check() -> list[str]:
        server = make_server()
        owner, number = await subscribed(server)
        stranger, _ = await subscribed(server)
        answers = [await answer(session, number) for session in (stranger, owner)]
        await asyncio.gather(owner.close_session(), stranger.close_session())
        return answers

    refused, taken = asyncio.run(check())
    assert refused == "BadSubscriptionIdInvalid" != taken


def test_what_a_session_acknowledges_and_deletes_is_its_own() -> None:
    async def check() -> None:
        server = make_server()
        owner, number = await subscribed(server)
        stranger, _ = await subscribed(server)
        acks = [ua.SubscriptionAcknowledgement(number, 1)]
        assert len(owner.publish(acks)[1]) == 1 and not stranger.publish(acks)[1]
        (result,) = await stranger.delete_subscriptions([number])
        assert result.name == "BadSubscriptionIdInvalid"
        (result,) = await owner.delete_subscriptions([number])
        assert result.is_good()
        await stranger.close_session()

    asyncio.run(check())


def items(number: int, attribute: int, count: int) -> Any:
    """Return a request for items of a subscription: of a value, or of events."""
    events = attribute == ua.AttributeIds.EventNotifier
    node = ua.ObjectIds.Server if events else ua.ObjectIds.Server_ServerStatus_State
    item = ua.MonitoredItemCreateRequest(ua.ReadValueId(ua.NodeId(node), attribute))
    item.RequestedParameters.QueueSize = 1_000_000
    if events:
        item.RequestedParameters.Filter = ua.EventFilter()
    return ua.CreateMonitoredItemsParameters(number, ItemsToCreate=[item] * count)


def test_the_items_of_all_subscriptions_of_a_session_are_counted() -> None:
    async def check() -> None:
        server = make_server()
        await server.init()
        for attribute, most, queue in (
            (ua.AttributeIds.Value, limits.ITEMS, limits.QUEUE),
            (ua.AttributeIds.EventNotifier, limits.EVENT_ITEMS, limits.EVENT_QUEUE),
        ):
            session, first = await subscribed(server)
            other = await session.create_subscription(ua.CreateSubscriptionParameters(), unheard)
            second = other.SubscriptionId
            results = await session.create_monitored_items(items(first, attribute, most - 1))
            assert all(result.StatusCode.is_good() for result in results)
            with pytest.raises(ServiceError) as refused:
                await session.create_monitored_items(items(second, attribute, 2))
            assert refused.value.code == ua.StatusCodes.BadTooManyMonitoredItems
            (last,) = await session.create_monitored_items(items(second, attribute, 1))
            assert last.StatusCode.is_good() and last.RevisedQueueSize == queue
            with pytest.raises(ServiceError) as refused:
                await session.modify_monitored_items(ua.ModifyMonitoredItemsParameters(first))
            assert refused.value.code == ua.StatusCodes.BadServiceUnsupported
            await session.close_session()
        await server.stop()

    asyncio.run(check())


def test_a_refusal_is_reported_with_address_and_user() -> None:
    reports: list[str] = []
    server = GuardedServer(ServerSettings("127.0.0.1", 4840, "urn:x"), Reports(reports.append))
    session = server.create_session(("10.0.0.9", 1), external=True)
    session.refuse("a write")
    session.user.name = "anna"
    assert session.refuse("a method call").code == ua.StatusCodes.BadUserAccessDenied
    assert reports == [
        "refused a write from 10.0.0.9",
        "refused a method call from 10.0.0.9 (anna)",
    ]


def test_qualities_are_status_codes() -> None:
    assert all(hasattr(ua.StatusCodes, quality.value) for quality in Quality)


@pytest.mark.parametrize(
    ("asked", "given"), [(0.0, 50.0), (-1.0, 50.0), (100.0, 100.0), (1e9, 6e4), (float("nan"), 6e4)]
)
def test_an_interval_is_kept_within_limits(asked: float, given: float) -> None:
    assert within(asked, limits.MIN_INTERVAL_MS, limits.MAX_INTERVAL_MS) == given


def _condition(*references: list[int]) -> Any:
    elements = [
        ua.ContentFilterElement(
            ua.FilterOperator.And, [ua.ElementOperand(index) for index in indices]
        )
        for indices in references
    ]
    return ua.EventFilter(WhereClause=ua.ContentFilter(elements))


@pytest.mark.parametrize(
    "given",
    [
        None,
        ua.DataChangeFilter(),
        _condition([0]),
        _condition([1, 2], [0], []),
        _condition(*([number + 1] * 2 for number in range(9))),
        _condition(*[[]] * 11),
    ],
    ids=["none", "of data", "to itself", "in a circle", "in a bush", "long"],
)
def test_a_filter_that_takes_for_ever_is_refused(given: Any) -> None:
    with pytest.raises(ua.UaError):
        check_filter(ua.AttributeIds.EventNotifier, given)


def test_filters_that_clients_use_are_taken() -> None:
    check_filter(ua.AttributeIds.EventNotifier, _condition([1, 2], [], []))
    for given in (None, ua.ExtensionObject(), ua.DataChangeFilter()):
        check_filter(ua.AttributeIds.Value, given)
    with pytest.raises(ua.UaError):
        check_filter(ua.AttributeIds.Value, ua.EventFilter())
