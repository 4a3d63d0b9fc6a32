"""Convert fp32 to fp16 where it is safe: by structure first, then by ranges measured on frames."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from edge_ad.export.fp16.ranges import add_measured
from edge_ad.export.fp16.rewrite import to_fp16
from edge_ad.export.fp16.rules import Reasons, close_gaps, structural_reasons
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.onnx_graph.simplify import flattened


@dataclass(frozen=True, slots=True)
class MixedPrecision:
    """A typed graph, and the names of the nodes left in fp32 by reason."""

    model: ModelProto
    nodes: int
    kept: dict[str, list[str]]

    def as_json(self) -> dict[str, Any]:
        """Return the counts of nodes and casts, and the kept nodes by reason."""
        casts = Counter(node.op_type for node in self.model.graph.node)["Cast"]
        kept = sum(len(names) for names in self.kept.values())
        return {"nodes": self.nodes, "kept_in_fp32": kept, "casts": casts, "why": self.kept}


def mixed_from_fp32(model: ModelProto, frames: Image, manifest: Manifest) -> MixedPrecision:
    """Cast what is safe to fp16; uint8 stays the input's type and float32 the outputs'.

    Raises IncompatibleError for a graph that is not flat.
    """
    graph = GraphIndex(flattened(model), manifest)
    reasons = structural_reasons(graph)
    add_measured(graph, reasons, frames)
    close_gaps(graph, reasons)
    return MixedPrecision(to_fp16(graph, reasons), len(graph.nodes), _by_reason(graph, reasons))


def _by_reason(graph: GraphIndex, reasons: Reasons) -> dict[str, list[str]]:
    result: dict[str, list[str]] = defaultdict(list)
    for name in graph.nodes:
        if name in reasons:
            result[reasons[name]].append(name)
    return dict(result)
