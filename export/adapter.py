"""Wrap a foreign ONNX graph in edge-ad's contract, as described by options, never guessed.

Cast, layout, colour order and scaling are added before the graph, edge-ad's output shapes after
it. The graph itself is not changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from edge_ad.engine import open_engine
from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.files import replacing, sha256
from edge_ad.manifest import Manifest, Provenance, Score
from edge_ad.onnx_graph.load import load_onnx, set_manifest
from edge_ad.provenance import stamp

SizeHW = tuple[int, int]
Operation = tuple[str, list[str], dict[str, Any]]  # its name, its constants, its attributes
_FOREIGN, _OURS = "foreign/", "edge-ad/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """The input format and output names of a foreign graph.

    A value v of 0 to 255 becomes (v * scale - mean) / std. `score_output` None takes the maximum of
    the map.
    """

    layout: Literal["nchw", "nhwc"] = "nchw"
    color: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    map_output: str = "anomaly_map"
    score_output: str | None = "pred_score"


# anomalib 1.2 and later: preprocessing is in the graph, which takes RGB of 0 to 1
ADAPTERS = {"anomalib": Adapter()}


def adapt_onnx(source: Path, out: Path, adapter: Adapter, size_hw: SizeHW) -> dict[str, Any]:
    """Write `source` as an engine file, run it once, and return the result for `--json`.

    Raises UsageError for outputs or a size it does not have, IncompatibleError when it is not ONNX
    or its outputs are not a map and a score.
    """
    foreign = load_onnx(source)
    batch = _batch(foreign, adapter, size_hw, source)
    model = wrap_graph(foreign, adapter, size_hw)
    notes = {"imported from": source.name}
    provenance = stamp(Provenance(), parent_sha256=sha256(source), notes=notes)
    manifest = Manifest(
        method="imported", size_hw=size_hw, batch=batch, score=Score(), provenance=provenance
    )
    set_manifest(model, manifest)
    with replacing(out) as temporary:
        onnx.save(model, temporary)
        _check_output(temporary, source, size_hw)
    return {
        "type": "import",
        "engine": str(out),
        "origin": source.name,
        "size_hw": list(size_hw),
        "batch": batch,
    }


def wrap_graph(foreign: ModelProto, adapter: Adapter, size_hw: SizeHW) -> ModelProto:
    """Return the graph with edge-ad's uint8 input and its map and score outputs."""
    prefixed = onnx.compose.add_prefix(foreign, _FOREIGN)
    graph = prefixed.graph
    _check_outputs(foreign.graph, adapter)
    before, input_constants = _input_nodes(adapter, graph.input[0].name)
    after, output_constants = _output_nodes(adapter, size_hw)
    nodes = [*before, *graph.node, *after]
    batch = _dimension(graph.input[0], 0)
    wrapped = helper.make_graph(
        nodes,
        "imported",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, *size_hw, 3])],
        [
            helper.make_tensor_value_info(MAP, TensorProto.FLOAT, [batch, *size_hw]),
            helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, [batch]),
        ],
        [*graph.initializer, *input_constants, *output_constants],
    )
    model = helper.make_model(
        wrapped, opset_imports=list(prefixed.opset_import), producer_name="edge-ad"
    )
    model.functions.extend(prefixed.functions)
    model.ir_version = prefixed.ir_version
    return model


def _input_nodes(adapter: Adapter, name: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Lead from uint8 (N, H, W, 3) BGR to the foreign input; TensorRT requires the cast first."""
    scale = np.array([adapter.scale / s for s in adapter.std], np.float32)
    shift = np.array([-m / s for m, s in zip(adapter.mean, adapter.std, strict=True)], np.float32)
    constants: dict[str, NDArray[Any]] = {"scale": scale, "shift": shift}
    steps: list[Operation] = [("Cast", [], {"to": TensorProto.FLOAT})]
    if adapter.color == "rgb":
        constants["order"] = np.array([2, 1, 0], np.int64)
        steps.append(("Gather", ["order"], {"axis": 3}))
    steps += [("Mul", ["scale"], {}), ("Add", ["shift"], {})]
    if adapter.layout == "nchw":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    return _chain(INPUT, steps, name), [_constant(*pair) for pair in constants.items()]


def _output_nodes(adapter: Adapter, size_hw: SizeHW) -> tuple[list[NodeProto], list[TensorProto]]:
    """Lead from the foreign outputs to float32 (N, H, W) and (N,)."""
    flat = np.array([-1], np.int64)
    constants = {"map-shape": np.array([-1, *size_hw], np.int64), "score-shape": flat}
    as_float: Operation = ("Cast", [], {"to": TensorProto.FLOAT})
    source = _FOREIGN + adapter.map_output
    nodes = _chain(source, [as_float, ("Reshape", ["map-shape"], {})], MAP, tag="map")
    steps: list[Operation] = [as_float]
    if adapter.score_output is None:
        constants["pool-shape"] = np.array([-1, 1, *size_hw], np.int64)
        steps = [("Reshape", ["pool-shape"], {}), ("GlobalMaxPool", [], {})]
        source = MAP
    else:
        source = _FOREIGN + adapter.score_output
    nodes += _chain(source, [*steps, ("Reshape", ["score-shape"], {})], SCORE, tag="score")
    return nodes, [_constant(*pair) for pair in constants.items()]


def _chain(first: str, steps: list[Operation], last: str, tag: str = "in") -> list[NodeProto]:
    """Return nodes that apply the operations one after the other."""
    nodes, name = [], first
    for number, (operator, constants, attributes) in enumerate(steps, 1):
        out = last if number == len(steps) else f"{_OURS}{tag}{number}"
        inputs = [name, *(_OURS + constant for constant in constants)]
        label = f"{_OURS}{tag}-{operator}{number}"
        nodes.append(helper.make_node(operator, inputs, [out], label, **attributes))
        name = out
    return nodes


def _constant(name: str, value: NDArray[Any]) -> TensorProto:
    return numpy_helper.from_array(value, _OURS + name)


def _batch(model: ModelProto, adapter: Adapter, size_hw: SizeHW, source: Path) -> int | None:
    """Return the images a call, None for any number; check that the input takes this size."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        names = ", ".join(value.name for value in inputs)
        raise IncompatibleError(f"{source}: expected one input of four dimensions, got: {names}.")
    rows = 2 if adapter.layout == "nchw" else 1
    sides = [_dimension(inputs[0], axis) for axis in (rows, rows + 1)]
    if any(isinstance(side, int) and side != n for side, n in zip(sides, size_hw, strict=True)):
        raise UsageError(
            f"{source} takes {sides[0]}x{sides[1]} (height x width): give that as --size."
        )
    batch = _dimension(inputs[0], 0)
    return batch if isinstance(batch, int) else None


def _dimension(value: ValueInfoProto, axis: int) -> int | str:
    dim = value.type.tensor_type.shape.dim[axis]
    return dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else "batch"


def _check_outputs(graph: GraphProto, adapter: Adapter) -> None:
    names = [value.name for value in graph.output]
    for option, name in (("map", adapter.map_output), ("score", adapter.score_output)):
        if name is not None and name not in names:
            raise UsageError(
                f"the graph has no output '{name}'; it has: {', '.join(names)}. Name the right one "
                f"with --{option}-output"
                + (" (or --score-output max)." if option == "score" else ".")
            )


def _check_output(path: Path, source: Path, size_hw: SizeHW) -> None:
    """Run one grey image; raise IncompatibleError unless the outputs are a map and a score."""
    image = np.full((1, *size_hw, 3), 128, np.uint8)
    try:
        with open_engine(path) as engine:
            prediction = engine.infer(image)
    except Exception as error:  # ONNX Runtime's errors share no public base class
        reason = str(error).strip().splitlines()[0].replace(str(path), source.name)
        raise IncompatibleError(
            f"{source}: its outputs are not a map and a score: {reason}"
        ) from error
    maps, scores = prediction
    shapes_match = maps.shape == (1, *size_hw) and scores.shape == (1,)
    if not shapes_match or not np.isfinite(maps).all() or not np.isfinite(scores).all():
        raise IncompatibleError(
            f"{source}: expected a finite map {(1, *size_hw)} and one score, got "
            f"{maps.shape} and {scores.shape}."
        )
