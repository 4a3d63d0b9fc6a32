"""An fp32 engine's graph, indexed: who makes a tensor, who reads it, what is constant.

Refuses what cannot be calibrated: graphs that are quantized or fp16 already, or of open size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.files import sha256
from edge_ad.manifest import METADATA_KEY, Manifest, manifest_from_json

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_EXPORT = "Calibrate the fp32 file that edge-ad export wrote."


class Edge(NamedTuple):
    """One input of one node, by the node's name."""

    node: str
    place: int


@dataclass
class CalibrationGraph:
    """`makers` maps a tensor to the node that makes it, `readers` to the edges that read it.

    `constants` holds the values of initializers, `depth` how many nodes lie before a node.
    """

    model: onnx.ModelProto
    manifest: Manifest
    sha256: str
    name: str
    nodes: dict[str, onnx.NodeProto] = field(default_factory=dict)
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    readers: dict[str, list[Edge]] = field(default_factory=dict)
    constants: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    depth: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fold_constants(self.model)
        name_nodes(self.model)
        graph = self.model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        readers: dict[str, list[Edge]] = defaultdict(list)
        for node in graph.node:
            self.nodes[node.name] = node
            self.makers.update({output: node for output in node.output if output})
            for index, tensor in enumerate(node.input):
                readers[tensor].append(Edge(node.name, index))
            self.depth[node.name] = 1 + max(self._depths_before(node), default=0)
        self.readers = dict(readers)

    @property
    def outputs(self) -> set[str]:
        return {door.name for door in self.model.graph.output}

    def readers_of(self, tensor: str) -> list[onnx.NodeProto]:
        return [self.nodes[edge.node] for edge in self.readers.get(tensor, [])]

    def inputs_of(self, node: onnx.NodeProto) -> Iterator[tuple[int, str]]:
        """Its inputs that are computed, with their places: no constants, no omitted ones."""
        for index, tensor in enumerate(node.input):
            if tensor and tensor not in self.constants:
                yield index, tensor

    def weight_of(self, node: onnx.NodeProto) -> NDArray[np.float32] | None:
        """The constant float weights of a convolution or matrix product, otherwise None."""
        if node.op_type not in WEIGHTED or len(node.input) < 2:
            return None
        weight = self.constants.get(node.input[1])
        if weight is None or weight.dtype != np.float32:
            return None
        return np.asarray(weight, np.float32)

    def after(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Every node that depends on this one."""
        seen: set[str] = set()
        waiting = [node]
        while waiting:
            for output in waiting.pop().output:
                for reader in self.readers_of(output):
                    if reader.name not in seen:
                        seen.add(reader.name)
                        waiting.append(reader)
                        yield reader

    def _depths_before(self, node: onnx.NodeProto) -> Iterator[int]:
        for tensor in node.input:
            if tensor in self.makers:
                yield self.depth[self.makers[tensor].name]


def load_graph(path: Path) -> CalibrationGraph:
    """Read and check an fp32 engine file.

    Raises UsageError for a missing file, IncompatibleError for one that is not ONNX, carries no
    manifest, is quantized or fp16 already, or whose height or width is open.
    """
    if not path.is_file():
        raise UsageError(f"no engine at {path}. Make one with: edge-ad export WEIGHTS.pt -o {path}")
    model = _parse(path)
    manifest = _manifest(model, path)
    _check_precision(model, manifest, path)
    _check_sizes(model, path)
    return CalibrationGraph(model, manifest, sha256(path), path.name)


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """The value of a node's attribute."""
    for found in node.attribute:
        if found.name == name:
            return onnx.helper.get_attribute_value(found)
    return default


def name_nodes(model: onnx.ModelProto) -> None:
    """Give a unique name to every node that lacks one, in place."""
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{index}"
            node.name = name if name not in taken else f"{name}_of_{node.output[0]}"
        seen.add(node.name)


def fold_constants(model: onnx.ModelProto) -> None:
    """Compute nodes whose inputs are all constant, in place: weights stored as int8 become fp32."""
    graph = model.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept, made = [], {}
    for node in graph.node:
        if node.op_type in _FOLDED and all(name in known for name in node.input):
            made[node.output[0]] = known[node.output[0]] = _compute(node, known, model)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in made.items())
    _drop_unread(graph)


_FOLDED = frozenset({"Cast", "Constant", "Identity", "Mul", "Reshape", "Transpose", "Unsqueeze"})


def _compute(
    node: onnx.NodeProto, known: dict[str, NDArray[np.generic]], model: onnx.ModelProto
) -> NDArray[np.generic]:
    from onnx.reference import ReferenceEvaluator

    inputs = [onnx.ValueInfoProto(name=name) for name in node.input]
    output = onnx.ValueInfoProto(name=node.output[0])
    alone = onnx.helper.make_graph([node], "one", inputs, [output])
    one = onnx.helper.make_model(alone, opset_imports=model.opset_import)
    (answer,) = ReferenceEvaluator(one).run(None, {name: known[name] for name in node.input})
    return np.asarray(answer)


def _drop_unread(graph: onnx.GraphProto) -> None:
    read = {tensor for node in graph.node for tensor in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _parse(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf raises many kinds for foreign bytes
        raise IncompatibleError(
            f"{path}: cannot be read as ONNX ({error}). The file may be cut off; export it again."
        ) from error
    if not model.graph.node:
        raise IncompatibleError(f"{path}: holds no graph. {_EXPORT}")
    return model


def _manifest(model: onnx.ModelProto, path: Path) -> Manifest:
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return manifest_from_json(entry.value, str(path))
    raise IncompatibleError(f"{path}: an ONNX file without edge-ad's manifest. {_EXPORT}")


def _check_precision(model: onnx.ModelProto, manifest: Manifest, path: Path) -> None:
    for node in model.graph.node:
        if node.op_type in _QUANTIZED or node.op_type.startswith("QLinear"):
            raise IncompatibleError(
                f"{path}: is quantized already (its first such node is '{node.name}', a "
                f"{node.op_type}), expected an fp32 graph. {_EXPORT}"
            )
    halves = [t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    if halves:
        raise IncompatibleError(
            f"{path}: is fp16 already (its first such tensor is '{halves[0]}'), expected an fp32 "
            f"graph. {_EXPORT}"
        )
    if manifest.precision != "fp32":
        raise IncompatibleError(f"{path}: its manifest says {manifest.precision}. {_EXPORT}")


def _check_sizes(model: onnx.ModelProto, path: Path) -> None:
    """Only the number of images may be open: ranges belong to one size."""
    for door in model.graph.input:
        sides = door.type.tensor_type.shape.dim[1:]
        if any(not side.HasField("dim_value") for side in sides):
            names = [side.dim_param or str(side.dim_value) for side in sides]
            raise IncompatibleError(
                f"{path}: input '{door.name}' has an open size ({', '.join(names)}); expected "
                "numbers, since ranges belong to one size. Export it at the line's size."
            )
