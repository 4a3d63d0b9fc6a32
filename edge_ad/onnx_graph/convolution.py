"""Read what kind of convolution a node is."""

from __future__ import annotations

from onnx import NodeProto

from edge_ad.onnx_graph.index import GraphIndex, attribute


def is_plain(graph: GraphIndex, conv: NodeProto) -> bool:
    """Return whether a convolution has one group, no stride, no dilation and known constants."""
    return (
        all(name in graph.constants for name in conv.input[2:] if name)
        and len(integers(conv, "pads", 0, count=4)) == 4
        and attribute(conv, "group", 1) == 1
        and attribute(conv, "auto_pad", b"NOTSET") == b"NOTSET"
        and set(integers(conv, "strides", 1) + integers(conv, "dilations", 1)) == {1}
    )


def integers(node: NodeProto, name: str, default: int, count: int = 2) -> list[int]:
    """Return a node's list of integers, by default `count` times the same."""
    given = attribute(node, name)
    return [int(n) for n in given] if isinstance(given, list) else [default] * count
