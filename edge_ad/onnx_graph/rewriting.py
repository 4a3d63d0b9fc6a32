"""Write a graph that replaces another: its nodes in order, new constants, names that are free."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.onnx_graph.names import Names, tensor_names
from edge_ad.onnx_graph.simplify import drop_unused_constants


class Rewriting:
    """The nodes and constants of a new graph; the old one stays as it is."""

    def __init__(self, graph: GraphIndex) -> None:
        self._graph, self._model = graph, ModelProto()
        self._model.CopyFrom(graph.model)
        self._nodes: list[NodeProto] = []
        self._tensors = Names(tensor_names(self._model.graph))
        self._node_names = Names(node.name for node in self._model.graph.node)

    def keep(self, node: NodeProto) -> None:
        """Take a node over, with its name and the names of its outputs."""
        self._nodes.append(node)

    def node(
        self, op: str, inputs: list[str], place: str, output: str = "", **attributes: Any
    ) -> str:
        """Write a node that belongs to the node named `place`; return its output.

        Without `output` it gets a name that is free.
        """
        name = self._node_names.unique(f"{place}/{op}")
        output = output or self.tensor(name)
        self._nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def tensor(self, name: str) -> str:
        """Return a name for a tensor, this one unless it is taken."""
        return self._tensors.unique(name)

    def constant(self, value: NDArray[np.generic], name: str) -> str:
        """Store a constant under this name, or a similar one if it is taken; return the name."""
        unique = self._tensors.unique(name)
        self._model.graph.initializer.append(numpy_helper.from_array(value, unique))
        return unique

    def finish(self) -> GraphIndex:
        """Return the new graph, without the constants and shapes that belonged to the old one."""
        graph = self._model.graph
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        drop_unused_constants(graph)
        return replace(self._graph, model=self._model)
