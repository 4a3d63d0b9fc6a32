"""Alarms of the cameras as conditions of OPC UA, which people acknowledge."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asyncua import Server, ua

from edge_ad.opcua import nodes
from edge_ad.opcua.address_space import AddressSpace
from edge_ad.opcua.events import Notifier
from edge_ad.opcua.session import caller
from edge_ad.opcua.shown_camera import Quality

SEVERITY = {"defect": 700, "camera_fault": 800, "reject_rate": 500}  # of 1 to 1000
_REMEMBERED = 1_000  # ids of events that can be acknowledged
_COMMENT_LENGTH = 500

# (alarm, who, comment) -> why it was not recorded; empty when it was
Record = Callable[[str, str, str], Awaitable[str]]


@dataclass
class Condition:
    """One kind of alarm of one camera; a new alarm replaces one that has ended."""

    camera: str
    kind: str
    node: ua.NodeId = field(default_factory=ua.NodeId)
    alarm: str = ""
    active: bool = False
    message: str = ""
    at: str = ""
    acked_by: str | None = None
    comment: str = ""
    event_id: bytes = b""

    @property
    def name(self) -> str:
        """The name of its node."""
        return nodes.CONDITIONS[self.kind]

    def values(self) -> dict[str, Any]:
        """Return the values of its variables."""
        acked = not self.alarm or self.acked_by is not None
        return {
            "ActiveState": ua.LocalizedText("Active" if self.active else "Inactive"),
            "ActiveState.Id": self.active,
            "AckedState": ua.LocalizedText("Acknowledged" if acked else "Unacknowledged"),
            "AckedState.Id": acked,
            "Severity": SEVERITY[self.kind],
            "Message": ua.LocalizedText(self.message),
            "Retain": self.active or not acked,
            "Time": datetime.fromisoformat(self.at) if self.at else None,
            "EventId": self.event_id,
            "AlarmId": self.alarm,
            "Comment": ua.LocalizedText(self.comment),
            "ClientUserId": self.acked_by or "",
        }


class Conditions:
    """All conditions of a line."""

    def __init__(
        self, server: Server, space: AddressSpace, notifier: Notifier, record: Record
    ) -> None:
        self._server, self._space, self._notifier, self._record = server, space, notifier, record
        self._conditions: dict[tuple[str, str], Condition] = {}
        self._events: OrderedDict[bytes, tuple[Condition, str]] = OrderedDict()

    async def define(self) -> None:
        """Take over the method that clients call on the type."""
        method = self._server.get_node(
            ua.NodeId(ua.ObjectIds.AcknowledgeableConditionType_Acknowledge)
        )
        self._server.link_method(method, self._acknowledge)

    async def add_camera(self, camera: str) -> None:
        """Add the conditions of a camera."""
        for kind, name in nodes.CONDITIONS.items():
            condition = Condition(camera, kind)
            node = await self._space.add_condition(camera, name)
            condition.node = node.nodeid
            method = self._space.node_id(f"{camera}/Alarms.{name}.Acknowledge")
            arguments = [_argument("EventId", "ByteString"), _argument("Comment", "LocalizedText")]
            await node.add_method(
                method, ua.QualifiedName("Acknowledge", 0), self._acknowledge, arguments, []
            )
            self._conditions[camera, kind] = condition
            await self._write(condition)

    def fault(self, camera: str) -> str:
        """Return why the camera's fault stands; empty when there is none."""
        condition = self._conditions[camera, "camera_fault"]
        return condition.message if condition.active else ""

    async def update(self, record: Mapping[str, Any]) -> None:
        """Take a step of an alarm: a record with `acked_by` and `comment` where it has them."""
        condition = self._conditions.get((record["camera"], record["kind"]))
        if condition is None:
            return
        before = (condition.alarm, condition.active, condition.acked_by, condition.message)
        if record["id"] != condition.alarm:
            condition.alarm, condition.acked_by, condition.comment = record["id"], None, ""
        condition.active = record["event"] != "end"
        condition.at = record["time_utc"]
        condition.message = message(record)
        if record.get("acked_by") is not None:
            condition.acked_by, condition.comment = record["acked_by"], record["comment"]
        if before != (condition.alarm, condition.active, condition.acked_by, condition.message):
            await self._notify(condition)

    async def _notify(self, condition: Condition) -> None:
        condition.event_id = uuid.uuid4().bytes
        self._events[condition.event_id] = (condition, condition.alarm)
        while len(self._events) > _REMEMBERED:
            self._events.popitem(last=False)
        await self._write(condition)
        await self._notifier.alarm(
            condition.camera, condition.node, condition.values(), condition.name
        )

    async def _write(self, condition: Condition) -> None:
        prefix = f"{condition.camera}/Alarms.{condition.name}."
        values = {path: (value, Quality.GOOD) for path, value in condition.values().items()}
        await self._space.write(prefix, values)

    async def _acknowledge(self, parent: ua.NodeId, *arguments: ua.Variant) -> ua.StatusCode:
        """Record that the calling user has seen an alarm, also one that has ended since."""
        if len(arguments) != 2 or not isinstance(arguments[0].Value, bytes):
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        known = self._events.get(arguments[0].Value)
        if known is None or known[0].node != parent:
            return ua.StatusCode(ua.StatusCodes.BadEventIdUnknown)
        condition, alarm = known
        if condition.alarm == alarm and condition.acked_by is not None:
            return ua.StatusCode(ua.StatusCodes.BadConditionBranchAlreadyAcked)
        comment = getattr(arguments[1].Value, "Text", None) or ""
        who = caller.get()
        if await self._record(alarm, who, comment[:_COMMENT_LENGTH]):
            return ua.StatusCode(ua.StatusCodes.BadResourceUnavailable)
        if condition.alarm == alarm:
            condition.acked_by, condition.comment = who, comment[:_COMMENT_LENGTH]
            await self._notify(condition)
        return ua.StatusCode()


def message(record: Mapping[str, Any]) -> str:
    """Return what people read of an alarm."""
    test = "TEST: " if record.get("test") else ""
    if record.get("reason"):
        return f"{test}{record['reason']}"
    part = f"part {record['part']}" if record.get("part") else f"frame {record['frame']}"
    return (
        f"defect on {part}: score {record['peak_score']:.4g}, threshold {record['threshold']:.4g}"
    )


def _argument(name: str, kind: str) -> ua.Argument:
    return ua.Argument(
        Name=name, DataType=ua.NodeId(ua.VariantType[kind].value), ValueRank=-1, ArrayDimensions=[]
    )
