"""fp32 to fp16 where it is safe: structure decides first, then ranges measured on frames."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from edge_ad.export.fp16.ranges import add_measured
from edge_ad.export.fp16.rewrite import to_fp16
from edge_ad.export.fp16.rules import Reasons, close_gaps, places
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.wiring import GraphIndex, flattened, index_graph, label


@dataclass(frozen=True, slots=True)
class Mixed:
    """A typed graph, and the names of the nodes left in fp32 by reason."""

    model: ModelProto
    nodes: int
    kept: dict[str, list[str]]

    def as_json(self) -> dict[str, Any]:
        casts = Counter(node.op_type for node in self.model.graph.node)["Cast"]
        kept = sum(len(names) for names in self.kept.values())
        return {"nodes": self.nodes, "kept_in_fp32": kept, "casts": casts, "why": self.kept}


def mixed_from_fp32(model: ModelProto, frames: Image, manifest: Manifest) -> Mixed:
    """Cast what is safe to fp16; uint8 stays the input's type and float32 the outputs'.

    Raises IncompatibleError for a graph that is not flat.
    """
    model = flattened(model)
    wiring = index_graph(model)
    reasons = places(wiring, {one.domain: one.version for one in model.opset_import})
    add_measured(model, wiring, reasons, frames, manifest)
    close_gaps(wiring, reasons)
    return Mixed(to_fp16(model, reasons), len(wiring.nodes), _named(wiring, reasons))


def _named(wiring: GraphIndex, reasons: Reasons) -> dict[str, list[str]]:
    named: dict[str, list[str]] = defaultdict(list)
    for index, why in sorted(reasons.items()):
        named[why].append(label(wiring.nodes[index]))
    return dict(named)
