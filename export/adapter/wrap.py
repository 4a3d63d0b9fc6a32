"""Wrap a normalised graph in edge-ad's contract: nodes before its input and behind its outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.export.adapter.description import Adapter, ForeignInput, SizeHW
from edge_ad.export.adapter.outputs import OutputShapes

Operation = tuple[str, list[str], dict[str, Any]]  # its name, its constants, its attributes
OURS = "edge-ad/"
GREY_BGR = (0.114, 0.587, 0.299)  # luma of ITU-R BT.601, as OpenCV's


def wrap(
    model: ModelProto, foreign: ForeignInput, adapter: Adapter, shapes: OutputShapes
) -> ModelProto:
    """Return the graph with edge-ad's uint8 input and its map and score outputs.

    The graph's outputs are its map and, unless the score is the map's maximum, its score.
    """
    graph, size = model.graph, foreign.size_hw
    before, input_constants = _input_nodes(foreign, adapter, graph.input[0].name)
    names = [value.name for value in graph.output]
    after, output_constants = _output_nodes(names, foreign, shapes.map_hw)
    batch = foreign.batch or "batch"
    wrapped = helper.make_graph(
        [*before, *graph.node, *after],
        "imported",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, *size, 3])],
        [
            helper.make_tensor_value_info(MAP, TensorProto.FLOAT, [batch, *size]),
            helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, [batch]),
        ],
        [*graph.initializer, *input_constants, *output_constants],
    )
    result = helper.make_model(
        wrapped, opset_imports=list(model.opset_import), producer_name="edge-ad"
    )
    result.ir_version = model.ir_version
    return result


def affine(adapter: Adapter, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the factor and the summand of each channel, float32 (channels,)."""
    assert adapter.scale is not None
    mean, std = (np.broadcast_to(values, channels) for values in (adapter.mean, adapter.std))
    return (adapter.scale / std).astype(np.float32), (-mean / std).astype(np.float32)


def _input_nodes(
    foreign: ForeignInput, adapter: Adapter, name: str
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Lead from uint8 (N, H, W, 3) BGR to the foreign input; TensorRT requires the cast first."""
    constants: dict[str, NDArray[Any]] = {}
    steps: list[Operation] = [("Cast", [], {"to": TensorProto.FLOAT})]
    if foreign.channels == 1:
        constants |= {"grey": np.array(GREY_BGR, np.float32), "colours": np.array([3], np.int64)}
        steps += [("Mul", ["grey"], {}), ("ReduceSum", ["colours"], {"keepdims": 1})]
    elif adapter.color == "rgb":
        constants["order"] = np.array([2, 1, 0], np.int64)
        steps.append(("Gather", ["order"], {"axis": 3}))
    factor, summand = affine(adapter, foreign.channels)
    if (factor != 1).any():
        constants["scale"] = factor
        steps.append(("Mul", ["scale"], {}))
    if summand.any():
        constants["shift"] = summand
        steps.append(("Add", ["shift"], {}))
    if foreign.layout == "nchw":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if not foreign.batched:
        constants["first"] = np.array([0], np.int64)
        steps.append(("Squeeze", ["first"], {}))
    return _chain(INPUT, steps, name, "in"), [_constant(*pair) for pair in constants.items()]


def _output_nodes(
    names: list[str], foreign: ForeignInput, map_hw: SizeHW
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Lead from the foreign outputs to float32 (N, H, W) and (N,)."""
    count, size = foreign.batch or -1, foreign.size_hw
    as_float: Operation = ("Cast", [], {"to": TensorProto.FLOAT})
    constants: dict[str, NDArray[Any]] = {
        "map-shape": np.array([count, *size], np.int64),
        "score-shape": np.array([count], np.int64),
    }
    steps = [as_float]
    if map_hw != size:
        constants["small-shape"] = np.array([count, 1, *map_hw], np.int64)
        steps += [("Reshape", ["small-shape"], {}), _resize(map_hw, size, constants)]
    nodes = _chain(names[0], [*steps, ("Reshape", ["map-shape"], {})], MAP, "map")
    if len(names) == 1:
        constants["pool-shape"] = np.array([count, 1, *size], np.int64)
        steps, source = [("Reshape", ["pool-shape"], {}), ("GlobalMaxPool", [], {})], MAP
    else:
        steps, source = [as_float], names[1]
    nodes += _chain(source, [*steps, ("Reshape", ["score-shape"], {})], SCORE, "score")
    return nodes, [_constant(*pair) for pair in constants.items()]


def _resize(map_hw: SizeHW, size: SizeHW, constants: dict[str, NDArray[Any]]) -> Operation:
    """Enlarge a small map bilinearly; of a large one keep each block's maximum."""
    block = [map_hw[0] // size[0], map_hw[1] // size[1]]
    if max(block) > 1:
        return ("MaxPool", [], {"kernel_shape": block, "strides": block})
    factors = [_factor(small, large) for small, large in zip(map_hw, size, strict=True)]
    constants["factors"] = np.array([1, 1, *factors], np.float32)
    return ("Resize", ["", "factors"], {"mode": "linear"})


def _factor(small: int, large: int) -> np.float32:
    """Return the float32 factor that makes `large` of `small` when the product is rounded down."""
    factor: np.float32 = np.float32(large / small)
    while math.floor(np.float32(small) * factor) < large:
        factor = np.float32(np.nextafter(factor, np.float32(np.inf)))
    return factor


def _chain(first: str, steps: list[Operation], last: str, tag: str) -> list[NodeProto]:
    """Return nodes that apply the operations one after the other."""
    nodes, name = [], first
    for number, (operator, constants, attributes) in enumerate(steps, 1):
        out = last if number == len(steps) else f"{OURS}{tag}{number}"
        inputs = [name, *(constant and OURS + constant for constant in constants)]
        label = f"{OURS}{tag}-{operator}{number}"
        nodes.append(helper.make_node(operator, inputs, [out], label, **attributes))
        name = out
    return nodes


def _constant(name: str, value: NDArray[Any]) -> TensorProto:
    return numpy_helper.from_array(value, OURS + name)
