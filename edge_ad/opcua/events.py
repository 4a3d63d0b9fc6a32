"""What the server notifies of: results and alarms."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from asyncua import Server, ua
from asyncua.common.event_objects import AlarmCondition, BaseEvent
from asyncua.common.events import Event

from edge_ad.opcua import nodes
from edge_ad.opcua.address_space import AddressSpace


class _Fields(Event):
    """Gives a client fields of the event only; asyncua would look up any attribute."""

    def to_event_fields(
        self, select_clauses: Sequence[ua.SimpleAttributeOperand]
    ) -> list[ua.Variant]:
        return [self._field(clause) for clause in select_clauses]

    def _field(self, clause: ua.SimpleAttributeOperand) -> ua.Variant:
        path = clause.BrowsePath
        name = "/".join(part.Name for part in path) if path else "NodeId"
        if name not in self.data_types:
            return ua.Variant(None)
        value = getattr(self, name)
        return ua.Variant(None) if value is None else ua.Variant(value, self.data_types[name])


class ResultReady(_Fields, BaseEvent):
    """A result of one camera."""


class AlarmChanged(_Fields, AlarmCondition):
    """A change of one alarm."""


class Notifier:
    """Sends events to whoever subscribed to the server or to the camera."""

    def __init__(self, server: Server, space: AddressSpace) -> None:
        self._server, self._space = server, space

    async def define(self) -> None:
        """Add the type ResultReadyEventType."""
        fields = [(name, ua.VariantType[kind]) for name, kind in nodes.RESULT_EVENT.items()]
        kind = await self._server.create_custom_event_type(
            self._space.namespace, "ResultReadyEventType", properties=fields
        )
        self._result_ready = kind.nodeid

    async def result(self, camera: str, values: Mapping[str, Any], severity: int) -> None:
        """Notify of a result; `values` are the fields of ResultReadyEventType."""
        event = ResultReady()
        event.EventType = self._result_ready
        for name, value in values.items():
            event.add_property(name, value, ua.VariantType[nodes.RESULT_EVENT[name]])
        text = f"{camera}: {values['Verdict']}"
        await self._send(event, camera, text, severity, uuid.uuid4().hex.encode())

    async def alarm(
        self, camera: str, condition: ua.NodeId, values: Mapping[str, Any], name: str
    ) -> None:
        """Notify of an alarm; `values` are those of the condition's variables."""
        event = AlarmChanged()
        event.add_property("NodeId", condition, ua.VariantType.NodeId)
        event.ConditionName = name
        event.ConditionClassId = ua.NodeId(ua.ObjectIds.ProcessConditionClassType)
        event.ConditionClassName = ua.LocalizedText("ProcessConditionClassType")
        event.BranchId = ua.NodeId()
        event.EnabledState = ua.LocalizedText("Enabled")
        setattr(event, "EnabledState/Id", True)
        event.Quality = ua.StatusCode()
        event.SuppressedOrShelved = False
        event.add_property("AlarmId", values["AlarmId"], ua.VariantType.String)
        for path in nodes.CONDITION:
            setattr(event, path.replace(".", "/"), values[path])
        await self._send(
            event, camera, values["Message"].Text, values["Severity"], values["EventId"]
        )

    async def _send(
        self, event: Any, camera: str, text: str, severity: int, event_id: bytes
    ) -> None:
        node = self._space.cameras[camera]
        event.EventId = event_id
        event.SourceNode, event.SourceName = node.nodeid, camera
        event.Time = event.ReceiveTime = datetime.now(timezone.utc)
        event.Message, event.Severity = ua.LocalizedText(text), severity
        local = time.localtime()
        event.LocalTime = ua.TimeZoneDataType(local.tm_gmtoff // 60, local.tm_isdst > 0)
        for emitting in (node.nodeid, ua.NodeId(ua.ObjectIds.Server)):
            event.emitting_node = emitting
            await self._server.iserver.subscription_service.trigger_event(event)
