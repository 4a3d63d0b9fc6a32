"""Make and write the nodes of a line: `nodes.py` in OPC UA."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from asyncua import Node, Server, ua

from edge_ad.opcua import nodes
from edge_ad.opcua.settings import NAMESPACE
from edge_ad.opcua.shown_camera import Quality

_INITIAL: dict[str, Any] = {
    "Boolean": False,
    "Double": 0.0,
    "String": "",
    "ByteString": b"",
    "LocalizedText": ua.LocalizedText(""),
    "DateTime": datetime(1601, 1, 1, tzinfo=timezone.utc),
}


class AddressSpace:
    """The nodes of a line; their ids are strings: `Line.State`, `top/Result.Pass` of a camera."""

    def __init__(self, server: Server, namespace: int) -> None:
        self._server, self.namespace = server, namespace
        self._written: dict[ua.NodeId, tuple[Any, Quality]] = {}
        self._types: dict[ua.NodeId, ua.VariantType] = {}
        self._line = server.get_node(self.node_id("Line"))
        self._folder = server.get_node(self.node_id("Line.Cameras"))
        self.cameras: dict[str, Node] = {}

    @classmethod
    async def make(cls, server: Server) -> AddressSpace:
        """Add the line's own variables to a server."""
        space = cls(server, await server.register_namespace(NAMESPACE))
        await server.nodes.objects.add_object(space._line.nodeid, space._name("Line"))
        await space._notifies(space._line)
        await space._add_variables(space._line, "Line.", nodes.LINE)
        await space._line.add_object(space._folder.nodeid, space._name("Cameras"))
        return space

    def node_id(self, path: str) -> ua.NodeId:
        """Return the id of a node by its path."""
        return ua.NodeId(path, self.namespace)

    async def add_camera(self, name: str) -> Node:
        """Add the nodes of a camera and return its object."""
        prefix = f"{name}/"
        camera = await self._folder.add_object(self.node_id(prefix), self._name(name))
        await self._notifies(camera)
        await self._add_variables(camera, prefix, nodes.CAMERA)
        self.cameras[name] = camera
        return camera

    async def add_condition(self, camera: str, kind: str) -> Node:
        """Add the nodes of an alarm of a camera, without its method."""
        folder = self._server.get_node(self.node_id(f"{camera}/Alarms"))
        if folder.nodeid not in self._server.iserver.aspace:
            folder = await self.cameras[camera].add_object(folder.nodeid, self._name("Alarms"))
        path = f"{camera}/Alarms.{kind}"
        item = ua.AddNodesItem(
            ParentNodeId=folder.nodeid,
            ReferenceTypeId=ua.NodeId(ua.ObjectIds.HasComponent),
            RequestedNewNodeId=self.node_id(path),
            BrowseName=self._name(kind),
            NodeClass=ua.NodeClass.Object,
            NodeAttributes=ua.ObjectAttributes(DisplayName=ua.LocalizedText(kind)),
            TypeDefinition=ua.NodeId(ua.ObjectIds.AlarmConditionType),
        )
        (result,) = await self._server.iserver.isession.add_nodes([item])
        result.StatusCode.check()
        condition = self._server.get_node(self.node_id(path))
        await self._add_variables(condition, f"{path}.", nodes.CONDITION, standard=True)
        return condition

    async def write(
        self, prefix: str, values: Mapping[str, tuple[Any, Quality]], at: datetime | None = None
    ) -> None:
        """Write variables, those that have changed; clients read all of them or none."""
        now = at or datetime.now(timezone.utc)
        for path, (value, quality) in values.items():
            node_id = self.node_id(prefix + path)
            if self._written.get(node_id) != (value, quality):
                self._written[node_id] = (value, quality)
                await self._server.write_attribute_value(
                    node_id, self._data_value(node_id, value, quality, now)
                )

    def _data_value(
        self, node_id: ua.NodeId, value: Any, quality: Quality, at: datetime
    ) -> ua.DataValue:
        kind = self._types[node_id]
        given = _INITIAL.get(kind.name, 0) if value is None else value  # null when it is bad
        variant = ua.Variant(given, kind)
        status = ua.StatusCode(getattr(ua.StatusCodes, quality.value))
        return ua.DataValue(variant, status, at, at)

    async def _add_variables(
        self, parent: Node, prefix: str, kinds: Mapping[str, str], *, standard: bool = False
    ) -> None:
        """Add variables; names of a `standard` type are those of OPC UA, where it has them."""
        parents = {"": parent}
        for path, kind in kinds.items():
            group, _, name = path.rpartition(".")
            if group not in parents:
                node_id = self.node_id(prefix + group)
                parents[group] = await parent.add_object(node_id, self._name(group))
            own = not standard or name in nodes.OWN
            parents[path] = await self._add_variable(
                parents[group], prefix + path, self._name(name, own=own), kind
            )

    async def _add_variable(
        self, parent: Node, path: str, name: ua.QualifiedName, kind: str
    ) -> Node:
        node_id, variant = self.node_id(path), ua.VariantType[kind]
        self._types[node_id] = variant
        return await parent.add_variable(
            node_id, name, _INITIAL.get(kind, 0), variant, ua.NodeId(variant.value)
        )

    async def _notifies(self, node: Node) -> None:
        await node.set_event_notifier([ua.EventNotifier.SubscribeToEvents])

    def _name(self, name: str, *, own: bool = True) -> ua.QualifiedName:
        return ua.QualifiedName(name, self.namespace if own else 0)
