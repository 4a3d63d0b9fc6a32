"""A client's session at the server: what it may do, and how much."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server import monitored_item_service
from asyncua.server.internal_session import InternalSession

from edge_ad.opcua import limits
from edge_ad.opcua.filters import check_filter, within

_log = logging.getLogger(monitored_item_service.__name__)  # one that loggers below can hang on
caller: ContextVar[str] = ContextVar("caller")  # the user whose method call runs


class GuardedSession(InternalSession):
    """A client's session: anonymous until it is activated, and master of its subscriptions only.

    `encrypted` says how its channel is, before activation.
    """

    encrypted = False

    def __init__(self, server: Any, name: Any) -> None:
        super().__init__(
            server, server.aspace, server.subscription_service, str(name), User(), external=True
        )
        self.server = server
        self.address = str(name[0]) if isinstance(name, tuple) else str(name)

    def refuse(self, kind: str, code: int = ua.StatusCodes.BadUserAccessDenied) -> ServiceError:
        """Report an attempt and return the error for the client."""
        who = f" ({self.user.name})" if self.user.name else ""
        self.server.reports.refuse(kind, self.address, who)
        return ServiceError(code)

    def activate_session(
        self, params: ua.ActivateSessionParameters, peer_certificate: bytes | None
    ) -> ua.ActivateSessionResult:
        token = params.UserIdentityToken
        self.user = User()  # also when the session was activated before
        if isinstance(token, ua.UserNameIdentityToken) and not self.encrypted:
            raise self.refuse(
                "a password over an unencrypted connection", ua.StatusCodes.BadIdentityTokenRejected
            )
        self.server.user_manager = _UserManager(self)
        return super().activate_session(params, peer_certificate)

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        _check_count(params.NodesToRead)
        return await super().read(params)

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        _check_count(params.NodesToBrowse)
        return await super().browse(params)

    async def translate_browsepaths_to_nodeids(
        self, params: list[ua.BrowsePath]
    ) -> list[ua.BrowsePathResult]:
        _check_count(params)
        return await super().translate_browsepaths_to_nodeids(params)

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        if self.user.name is None:
            raise self.refuse("a method call without a user")
        caller.set(self.user.name)
        return await super().call(params)

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        if len(self._own_subscriptions()) >= limits.SUBSCRIPTIONS:
            raise self.refuse("too many subscriptions", ua.StatusCodes.BadTooManySubscriptions)
        params.RequestedPublishingInterval = within(
            params.RequestedPublishingInterval, limits.MIN_INTERVAL_MS, limits.MAX_INTERVAL_MS
        )
        result = await super().create_subscription(params, callback, request_callback)
        self._share_logger(result.SubscriptionId)
        return result

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        self._check_own(params.SubscriptionId)
        self._check_items(params.ItemsToCreate)
        for item in params.ItemsToCreate:
            attribute, asked = item.ItemToMonitor.AttributeId, item.RequestedParameters
            check_filter(attribute, asked.Filter)
            if attribute != ua.AttributeIds.EventNotifier:
                asked.QueueSize = min(asked.QueueSize or limits.QUEUE, limits.QUEUE)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(
        self, params: ua.ModifyMonitoredItemsParameters
    ) -> list[ua.MonitoredItemModifyResult]:
        """Refuse, since asyncua takes any filter and size of a queue; clients make new items."""
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)

    async def delete_monitored_items(
        self, params: ua.DeleteMonitoredItemsParameters
    ) -> list[ua.StatusCode]:
        self._check_own(params.SubscriptionId)
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(self, params: ua.SetMonitoringModeParameters) -> list[Any]:
        self._check_own(params.SubscriptionId)
        return await super().set_monitoring_mode(params)

    async def set_publishing_mode(self, params: ua.SetPublishingModeParameters) -> list[Any]:
        for number in params.SubscriptionIds:
            self._check_own(number)
        return await super().set_publishing_mode(params)

    def modify_subscription(
        self, params: ua.ModifySubscriptionParameters
    ) -> ua.ModifySubscriptionResult:
        self._check_own(params.SubscriptionId)
        return super().modify_subscription(params)

    def republish(self, params: ua.RepublishParameters) -> ua.NotificationMessage:
        self._check_own(params.SubscriptionId)
        return super().republish(params)

    def publish(
        self, acks: Iterable[ua.SubscriptionAcknowledgement] | None = None
    ) -> tuple[int, list[ua.StatusCode]]:
        own = self._own_subscriptions()
        return super().publish([ack for ack in acks or () if ack.SubscriptionId in own])

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        own = self._own_subscriptions()
        ids = [number if number in own else 0 for number in ids]  # no subscription has number 0
        return await super().delete_subscriptions(ids)

    def _share_logger(self, number: int) -> None:
        """Give up the logger that asyncua makes for each subscription, and never deletes."""
        service = self.subscription_service.subscriptions[number].monitored_item_srv
        logging.Logger.manager.loggerDict.pop(service.logger.name, None)
        service.logger = _log

    def _own_subscriptions(self) -> list[int]:
        every, own = self.subscription_service.subscriptions, self.session_id
        return [number for number, each in every.items() if each.session_id == own]

    def _check_own(self, number: int) -> None:
        if number not in self._own_subscriptions():
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)

    def _check_items(self, new: list[ua.MonitoredItemCreateRequest]) -> None:
        events = ua.AttributeIds.EventNotifier
        attributes = [item.ItemToMonitor.AttributeId for item in new]
        for number in self._own_subscriptions():
            service = self.subscription_service.subscriptions[number].monitored_item_srv
            attributes += [
                each.read_value_id.AttributeId for each in service._monitored_items.values()
            ]
        if len(attributes) > limits.ITEMS or attributes.count(events) > limits.EVENT_ITEMS:
            raise self.refuse("too many monitored items", ua.StatusCodes.BadTooManyMonitoredItems)


class _UserManager:
    """Gives asyncua the user of the session that is being activated."""

    def __init__(self, session: GuardedSession) -> None:
        self._session = session

    def get_user(
        self,
        iserver: Any,
        username: str | None = None,
        password: str | None = None,
        certificate: Any = None,
    ) -> User:
        session = self._session
        server = session.server
        if username is None:
            if not server.settings.anonymous:
                raise session.refuse("an anonymous login")
            return User(UserRole.User)
        if reason := server.logins.check(username, password or "", session.address):
            raise session.refuse(f"a login ({reason})")
        return User(UserRole.User, username)


def _check_count(given: Any) -> None:
    if len(given or ()) > limits.NODES:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
