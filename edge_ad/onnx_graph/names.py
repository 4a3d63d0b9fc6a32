"""Give tensors and nodes names that are unique and that no later step can collide with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from onnx import GraphProto, ModelProto

# suffixes of the tensors that fp16 casts, Q/DQ pairs and stored weights add to a name
_RESERVED = ("fp16", "fp32", "quantized", "dequantized", "scale", "zero_point", "int8", "float")
_RESERVED_END = re.compile(rf"\.({'|'.join(_RESERVED)})$")
_UNSAFE = re.compile(r"[^A-Za-z0-9_./:-]")  # TensorRT's logs and caches separate names by these


class Names:
    """Names in use; `unique` takes a new one that is not among them."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def unique(self, name: str) -> str:
        """Return `name`, with a number behind it if it is taken already."""
        candidate, number = name, 1
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._taken.add(candidate)
        return candidate


def tensor_names(graph: GraphProto) -> Iterator[str]:
    """Yield the names of all tensors of a flat graph, some of them several times."""
    for values in (graph.input, graph.output, graph.initializer):
        yield from (value.name for value in values)
    for node in graph.node:
        yield from (name for name in (*node.input, *node.output) if name)


def rename(model: ModelProto, prefix: str) -> int:
    """Prefix all names of a flat graph, in place, and make them unique and safe.

    Returns how many tensors changed by more than the prefix.
    """
    graph, names = model.graph, Names()
    new = {name: prefix + names.unique(_safe(name)) for name in dict.fromkeys(tensor_names(graph))}
    for values in (graph.input, graph.output, graph.initializer):
        for value in values:
            value.name = new[value.name]
    node_names = Names()
    for node in graph.node:
        node.name = prefix + node_names.unique(
            _safe(node.name or f"{node.op_type}_{node.output[0]}")
        )
        for field in (node.input, node.output):
            field[:] = [new[name] if name else "" for name in field]
    del graph.value_info[:], graph.quantization_annotation[:]
    return sum(prefix + name != changed for name, changed in new.items())


def _safe(name: str) -> str:
    return _RESERVED_END.sub(r"_\1", _UNSAFE.sub("_", name))
