"""Sessions of clients, without a network."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

ua = pytest.importorskip("asyncua.ua")

from edge_ad.opcua import limits  # noqa: E402
from edge_ad.opcua.filters import check_filter, within  # noqa: E402
from edge_ad.opcua.guard import GuardedServer  # noqa: E402
from edge_ad.opcua.reports import Reports  # noqa: E402
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
