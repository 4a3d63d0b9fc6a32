"""Index an ONNX graph: producers and consumers of each tensor, constants, types, node depth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edge_ad.errors import IncompatibleError
from edge_ad.files import sha256
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import load_model
from edge_ad.onnx_graph.simplify import fold_constants, name_nodes

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
FUSED = frozenset({"Relu", "Clip"})  # one int8 kernel with the convolution before them
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_EXPORT = "Use the fp32 file that edge-ad export wrote."


class Edge(NamedTuple):
    """One input of one node, by the node's name and the input's position."""

    node: str
    position: int


class TensorTypes(NamedTuple):
    """ONNX element types of all tensors, and channels of the (N, C, H, W) tensors among them."""

    types: dict[str, int]
    channels: dict[str, int]


@dataclass
class GraphIndex:
    """The nodes of an engine's graph by name, and its tensors by name.

    `producers` maps a tensor to the node that computes it, `consumers` to the edges that read it.
    `constants` holds the values of initializers, `depth` how many nodes lie before a node.
    Indexing gives nodes without a unique name one, in place; `nodes` keeps the graph's order.
    """

    model: ModelProto
    manifest: Manifest
    sha256: str = ""
    name: str = ""
    nodes: dict[str, NodeProto] = field(init=False, default_factory=dict)
    producers: dict[str, NodeProto] = field(init=False, default_factory=dict)
    consumers: dict[str, list[Edge]] = field(init=False)
    constants: dict[str, NDArray[np.generic]] = field(init=False)
    depth: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        name_nodes(self.model)
        graph = self.model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        consumers: dict[str, list[Edge]] = defaultdict(list)
        for node in graph.node:
            self.nodes[node.name] = node
            self.producers.update({output: node for output in node.output if output})
            for position, tensor in enumerate(node.input):
                consumers[tensor].append(Edge(node.name, position))
            before = (self.depth[earlier.name] for earlier in self.before(node))
            self.depth[node.name] = 1 + max(before, default=0)
        self.consumers = dict(consumers)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs."""
        return tuple(value.name for value in self.model.graph.input)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs."""
        return tuple(value.name for value in self.model.graph.output)

    @property
    def opsets(self) -> dict[str, int]:
        """Operator set versions by domain."""
        return {opset.domain: opset.version for opset in self.model.opset_import}

    @cached_property
    def tensor_types(self) -> TensorTypes:
        """Types and channels, inferred on first use; raises as `infer_types`."""
        return infer_types(self.model)

    def consumers_of(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read a tensor, one entry for each reading input."""
        return [self.nodes[edge.node] for edge in self.consumers.get(tensor, [])]

    def computed_inputs(self, node: NodeProto) -> Iterator[tuple[int, str]]:
        """Yield position and tensor of inputs that are neither constant nor omitted."""
        for position, tensor in enumerate(node.input):
            if tensor and tensor not in self.constants:
                yield position, tensor

    def before(self, node: NodeProto) -> Iterator[NodeProto]:
        """Yield the nodes that compute this node's inputs."""
        return (self.producers[name] for name in node.input if name in self.producers)

    def after(self, node: NodeProto) -> Iterator[NodeProto]:
        """Yield the nodes that read this node's outputs."""
        return (reader for name in node.output if name for reader in self.consumers_of(name))

    def neighbours(self, node: NodeProto) -> Iterator[NodeProto]:
        """Yield the nodes directly before and after this one."""
        yield from self.before(node)
        yield from self.after(node)

    def descendants(self, node: NodeProto) -> Iterator[NodeProto]:
        """Yield every node that depends on this one, once."""
        visited: set[str] = set()
        waiting = [node]
        while waiting:
            for reader in self.after(waiting.pop()):
                if reader.name not in visited:
                    visited.add(reader.name)
                    waiting.append(reader)
                    yield reader

    def has_weights(self, node: NodeProto) -> bool:
        """Return whether a node is a convolution or matrix product with constant weights."""
        return node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in self.constants

    def weight_of(self, node: NodeProto) -> NDArray[np.float32] | None:
        """Return the constant float32 weights of a convolution or matrix product, else None."""
        if not self.has_weights(node) or self.constants[node.input[1]].dtype != np.float32:
            return None
        return np.asarray(self.constants[node.input[1]], np.float32)


def load_graph(path: Path) -> GraphIndex:
    """Read, check and index an fp32 engine file of fixed height and width.

    Raises as `load_model`, and IncompatibleError for a file that is quantized or fp16 already or
    whose height or width is open.
    """
    model, manifest = load_model(path)
    _check_precision(model, manifest, path)
    _check_sizes(model, path)
    try:
        fold_constants(model)
        return GraphIndex(model, manifest, sha256(path), path.name)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise IncompatibleError(
            f"{path}: its graph contradicts itself ({reason[0]}). {_EXPORT}"
        ) from error


def infer_types(model: ModelProto) -> TensorTypes:
    """Infer type and channels of every tensor; raises IncompatibleError for contradictions."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise IncompatibleError(f"the graph contradicts itself: {error}") from error
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    channels = {
        value.name: dims[1].dim_value
        for value in values
        if len(dims := value.type.tensor_type.shape.dim) == 4 and dims[1].dim_value
    }
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return TensorTypes(types, channels)


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """Return the value of a node's attribute."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def _check_precision(model: ModelProto, manifest: Manifest, path: Path) -> None:
    for node in model.graph.node:
        if node.op_type in _QUANTIZED or node.op_type.startswith("QLinear"):
            raise IncompatibleError(
                f"{path}: is quantized already (its first quantized node is '{node.name}', a "
                f"{node.op_type}), expected an fp32 graph. {_EXPORT}"
            )
    fp16 = [t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    if fp16:
        raise IncompatibleError(
            f"{path}: is fp16 already (its first fp16 tensor is '{fp16[0]}'), expected an fp32 "
            f"graph. {_EXPORT}"
        )
    if manifest.precision != "fp32":
        raise IncompatibleError(
            f"{path}: its manifest says {manifest.precision}, expected fp32. {_EXPORT}"
        )


def _check_sizes(model: ModelProto, path: Path) -> None:
    """Allow only the number of images to be open, since ranges belong to one size."""
    for value in model.graph.input:
        sides = value.type.tensor_type.shape.dim[1:]
        if any(not side.HasField("dim_value") for side in sides):
            names = [side.dim_param or str(side.dim_value) for side in sides]
            raise IncompatibleError(
                f"{path}: input '{value.name}' has an open size ({', '.join(names)}); expected "
                "numbers, since ranges belong to one size. Export it at the line's size."
            )
