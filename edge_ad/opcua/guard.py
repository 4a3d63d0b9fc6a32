"""Put a guard between clients and asyncua's server.

As of asyncua 2.1, its server checks no rights on a channel without a policy, lets a stranger take
over a session whose number it guesses, lets any session delete or take the subscriptions of others,
buffers requests and answers without end, and keeps sessions of clients that are gone. Each request
passes `GuardedProcessor`, which lets through what is listed here, for sessions that are logged in.
"""

from __future__ import annotations

import asyncio
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server import binary_server_asyncio
from asyncua.server.binary_server_asyncio import OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import SessionState
from asyncua.server.uaprocessor import UaProcessor

from edge_ad.opcua import limits
from edge_ad.opcua.reports import Reports
from edge_ad.opcua.session import GuardedSession
from edge_ad.opcua.settings import ServerSettings
from edge_ad.opcua.users import Logins

_INVALID, _UNSUPPORTED = ua.StatusCodes.BadSessionIdInvalid, ua.StatusCodes.BadServiceUnsupported
_WITHOUT_SESSION = ("CloseSecureChannel", "FindServers", "GetEndpoints")
_LOGIN = ("ActivateSession", "CloseSession", "CreateSession")
_READING = (
    "Browse",
    "CreateMonitoredItems",
    "CreateSubscription",
    "DeleteMonitoredItems",
    "DeleteSubscriptions",
    "ModifyMonitoredItems",
    "ModifySubscription",
    "Publish",
    "Read",
    "RegisterNodes",
    "Republish",
    "SetMonitoringMode",
    "SetPublishingMode",
    "TranslateBrowsePathsToNodeIds",
    "UnregisterNodes",
)
_NAMES = {
    ua.NodeId(value): name.removesuffix("Request_Encoding_DefaultBinary")
    for name, value in vars(ua.ObjectIds).items()
    if name.endswith("Request_Encoding_DefaultBinary")
}


class GuardedServer(InternalServer):
    """Makes guarded sessions; offers passwords on encrypted endpoints only."""

    def __init__(self, settings: ServerSettings, reports: Reports) -> None:
        super().__init__()
        self.settings, self.reports = settings, reports
        self.logins = Logins(settings)
        self.allow_remote_admin = False
        password = (ua.UserNameIdentityToken,) if settings.users else ()
        self.supported_tokens = (ua.AnonymousIdentityToken, *password)
        self.min_session_timeout_ms = limits.MIN_IDLE_MS
        self.max_session_timeout_ms = limits.MAX_IDLE_MS
        self.max_unacked_messages_per_subscription = limits.UNREAD
        self.max_monitored_item_queue_size = limits.EVENT_QUEUE
        self.max_pending_messages_per_connection = limits.PENDING
        self.max_connections = limits.CONNECTIONS
        self.max_pending_activation_seconds = limits.LOGIN_S
        self.max_subscriptions = limits.CONNECTIONS * limits.SUBSCRIPTIONS

    def create_session(
        self,
        name: Any,
        user: User | None = None,
        external: bool = False,  # noqa: FBT001, FBT002
    ) -> GuardedSession:
        return GuardedSession(self, name)

    def lookup_external_session(self, auth_token: ua.NodeId) -> None:
        """Give no session to another connection: its token is a number that can be guessed."""

    def add_endpoint(self, endpoint: ua.EndpointDescription) -> None:
        encrypted = endpoint.SecurityMode == ua.MessageSecurityMode.SignAndEncrypt
        kinds = {ua.UserTokenType.Anonymous} if self.settings.anonymous else set()
        if encrypted and self.settings.users:
            kinds.add(ua.UserTokenType.UserName)
        endpoint.UserIdentityTokens = [
            token for token in endpoint.UserIdentityTokens if token.TokenType in kinds
        ]
        super().add_endpoint(endpoint)


class GuardedProcessor(UaProcessor):
    """Handles the requests of one connection, if they are allowed."""

    async def _process_message(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        name = _NAMES.get(typeid, "")
        policy = self._connection.security_policy
        if name not in _WITHOUT_SESSION:
            self._check(name, encrypted=policy.Mode == ua.MessageSecurityMode.SignAndEncrypt)
        return await super()._process_message(typeid, requesthdr, seqhdr, body)

    def _check(self, name: str, *, encrypted: bool) -> None:
        session = self.session
        if name == "CreateSession":
            self._check_new_session(encrypted=encrypted)
        elif session is None:
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        elif name == "ActivateSession":
            session.encrypted = encrypted
        elif name not in _LOGIN and not session.is_activated():
            closed = session.state is SessionState.Closed
            raise ServiceError(_INVALID if closed else ua.StatusCodes.BadSessionNotActivated)
        elif name not in _LOGIN and session.user.role is not UserRole.User:
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied)
        elif name == "Write":
            raise session.refuse("a write")
        elif name not in (*_LOGIN, *_READING, "Call"):
            raise session.refuse(f"{name or 'an unknown service'}", _UNSUPPORTED)

    def _check_new_session(self, *, encrypted: bool) -> None:
        if self.session is not None and self.session.state is not SessionState.Closed:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        if not encrypted and not self.iserver.settings.plain:
            self.iserver.reports.refuse("an unencrypted connection", str(self.name[0]))
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)

    def _should_close_session_on_transport_loss(self) -> bool:
        return True  # no other connection can take it


class GuardedProtocol(OPCUAProtocol):
    """One connection, closed when it sends too much, reads too little or has no session."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self.clients) >= self.iserver.max_connections:
            address = str(transport.get_extra_info("peername")[0])
            self.iserver.reports.refuse("too many connections", address)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        if len(self._buffer) > limits.MESSAGE_BYTES:
            self._abort("a request without end")
        elif self.transport.get_write_buffer_size() > limits.UNSENT_BYTES:
            self._abort("a client that does not read")
        else:
            super().data_received(data)

    def _abort(self, kind: str) -> None:
        self.iserver.reports.refuse(kind, str(self.peer_name[0]))
        self._buffer = b""
        assert self.transport is not None
        self.transport.abort()

    async def _activation_watchdog(self) -> None:
        """Close a connection that has no session, now or later."""
        while True:
            await asyncio.sleep(self.iserver.max_pending_activation_seconds)
            session = self.processor.session if self.processor else None
            if (session is None or not session.is_activated()) and self.transport is not None:
                self.transport.close()
                return


def install() -> None:
    """Let servers of this process use guarded connections."""
    binary_server_asyncio.OPCUAProtocol = GuardedProtocol
    binary_server_asyncio.UaProcessor = GuardedProcessor
