"""The input and outputs of a foreign graph: what options say, and what the graph says itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from onnx import ModelProto, TensorProto, ValueInfoProto

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.geometry import Shrink
from edge_ad.onnx_graph.retype import FLOATS, type_name

SizeHW = tuple[int, int]
Layout = Literal["nchw", "nhwc"]
_WHOLE = frozenset({TensorProto.UINT8, TensorProto.INT8, TensorProto.INT16, TensorProto.UINT16,
                    TensorProto.INT32, TensorProto.INT64})  # fmt: skip
_CHANNELS = (1, 3)
_SIDES = {"nchw": (0, 2, 3, 1), "nhwc": (0, 1, 2, 3)}  # axes of N, H, W and C


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """The input format and output names of a foreign graph.

    A value v of 0 to 255 becomes (v * scale - mean) / std. `layout` None is the graph's own,
    `scale` None is for graphs that take whole numbers. `map_output` None is the only output;
    `score_output` None takes the maximum of the map. `shrink` is how images are to be made smaller.
    """

    layout: Layout | None = None
    color: Literal["rgb", "bgr"] = "rgb"
    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    map_output: str | None = None
    score_output: str | None = None
    shrink: Shrink = "area"


# anomalib 1.2 and later: preprocessing is in the graph, which takes RGB of 0 to 1
ADAPTERS = {"anomalib": Adapter(scale=1 / 255, map_output="anomaly_map", score_output="pred_score")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignInput:
    """The only input of a foreign graph. `batch` None is any number of images.

    `batched` is False for a graph that takes one image, (3, H, W), without the axis that counts.
    """

    name: str
    kind: str
    layout: Layout
    channels: int
    size_hw: SizeHW
    batch: int | None
    batched: bool

    @property
    def whole_numbers(self) -> bool:
        """Return whether it takes pixel values as integers."""
        return "float" not in self.kind

    def sides(self) -> list[int | str]:
        """Return its shape as it will be written."""
        values = (self.batch or "batch", *self.size_hw, self.channels)
        sides: list[int | str] = [values[_SIDES["nhwc"].index(0)]] * 4
        for axis, value in zip(_SIDES[self.layout], values, strict=True):
            sides[axis] = value
        return sides if self.batched else sides[1:]


def read_input(
    model: ModelProto, adapter: Adapter, size_hw: SizeHW | None, batch: int | None, source: Path
) -> ForeignInput:
    """Return a graph's input as the graph and the options describe it together.

    Raises UsageError for options that contradict the graph or are missing, IncompatibleError for
    an input that is not an image.
    """
    value = _only_input(model, source)
    sides = _sides(value)
    batched = len(sides) == 4
    shape = _format(value)
    sides = sides if batched else [1, *sides]
    layout = _layout(sides, adapter.layout, shape, source)
    axes = _SIDES[layout]
    count, height, width, channels = (sides[axis] for axis in axes)
    return ForeignInput(
        name=value.name,
        kind=_kind(value, source),
        layout=layout,
        channels=channels or 3,
        size_hw=_size(height, width, size_hw, shape, source),
        batch=_batch(count, batch, source),
        batched=batched,
    )


def with_scale(adapter: Adapter, foreign: ForeignInput, source: Path) -> Adapter:
    """Return the adapter with a scale that fits the input. Raises UsageError without one."""
    if foreign.whole_numbers:
        if adapter.scale not in (None, 1.0) or any(adapter.mean) or set(adapter.std) != {1.0}:
            raise UsageError(
                f"{source} takes whole numbers ({foreign.kind}): leave out --scale, --mean and "
                "--std, which make fractions."
            )
        return replace(adapter, scale=1.0)
    if adapter.scale is None:
        raise UsageError(
            f"{source}: an ONNX file does not say which values its {foreign.kind} input expects: "
            "give --adapter anomalib, or --scale (1 for 0 to 255, 0.00392157 for 0 to 1)."
        )
    if not {len(adapter.mean), len(adapter.std)} <= {1, foreign.channels}:
        raise UsageError(
            f"{source} takes {foreign.channels} channels: give --mean and --std one number, or "
            f"{foreign.channels}."
        )
    return adapter


def chosen_outputs(model: ModelProto, adapter: Adapter) -> tuple[str, str | None]:
    """Return the names of the map and of the score; raises UsageError for one it does not have."""
    names = [value.name for value in model.graph.output]
    has = f"it has: {', '.join(names)}."
    if adapter.map_output is None and len(names) > 1:
        raise UsageError(
            f"an ONNX file does not say which output is the map: give --adapter anomalib, or "
            f"--map-output; {has}"
        )
    chosen = (adapter.map_output or names[0], adapter.score_output)
    for option, name in zip(("map", "score"), chosen, strict=True):
        if name is not None and name not in names:
            raise UsageError(
                f"the graph has no output '{name}'; {has} Name the right one "
                f"with --{option}-output"
                + (" (or --score-output max)." if option == "score" else ".")
            )
    return chosen


def _only_input(model: ModelProto, source: Path) -> ValueInfoProto:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    ranks = [len(value.type.tensor_type.shape.dim) for value in inputs]
    if len(inputs) != 1 or ranks[0] not in (3, 4):
        given = "; ".join(f"{value.name} {_format(value)}" for value in inputs) or "none"
        raise IncompatibleError(
            f"{source}: expected one input of four dimensions, an image, got: {given}."
        )
    value: ValueInfoProto = inputs[0]
    return value


def _kind(value: ValueInfoProto, source: Path) -> str:
    kind = value.type.tensor_type.elem_type
    if kind != TensorProto.FLOAT and kind not in FLOATS and kind not in _WHOLE:
        raise IncompatibleError(
            f"{source}: its input '{value.name}' takes {type_name(kind)}; expected float32, "
            "float16, float64, bfloat16, uint8 or another integer."
        )
    return type_name(kind)


def _sides(value: ValueInfoProto) -> list[int | None]:
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in value.type.tensor_type.shape.dim
    ]


def _format(value: ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return "(" + ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims) + ")"


def _layout(sides: list[int | None], given: Layout | None, shape: str, source: Path) -> Layout:
    """Return the layout whose channel axis counts 1 or 3, or the one given if that fits."""
    axes: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
    if given:
        if sides[axes[given]] not in (*_CHANNELS, None):
            raise UsageError(
                f"{source}: --layout {given} means {sides[axes[given]]} channels in its input "
                f"{shape}; expected 1 or 3. Give the other layout."
            )
        return given
    fitting: list[Layout] = [name for name, axis in axes.items() if sides[axis] in _CHANNELS]
    if len(fitting) == 1:
        return fitting[0]
    if fitting or None in (sides[1], sides[3]):
        raise UsageError(
            f"{source}: its input {shape} may be nchw or nhwc: say which with --layout."
        )
    raise IncompatibleError(
        f"{source}: its input {shape} has no axis of 1 or 3 channels where images have it; "
        "expected (N, 3, H, W) or (N, H, W, 3), or 1 instead of 3."
    )


def _size(
    height: int | None, width: int | None, given: SizeHW | None, shape: str, source: Path
) -> SizeHW:
    if height is None or width is None:
        if given is None:
            raise UsageError(
                f"{source}: its input {shape} leaves height or width open: give --size, the size "
                "it was trained with."
            )
        height, width = height or given[0], width or given[1]
    if given not in (None, (height, width)):
        raise UsageError(
            f"{source} takes {height}x{width} (height x width): give that as --size, or leave "
            "--size out."
        )
    return height, width


def _batch(count: int | None, given: int | None, source: Path) -> int | None:
    if count is not None and given not in (None, count):
        raise UsageError(f"{source} takes {count} images a call, so --batch cannot change it.")
    return count or given
