"""The range table: what every tensor was seen to hold, for one model and one set of images.

A readable YAML file beside the int8 engine. It can be used again without the images, and tables
of several cameras that run the same model merge into one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_ad.calibration.quantize.placement import Placement, Target
from edge_ad.calibration.quantize.qdq import Range
from edge_ad.calibration.ranges.methods import METHODS
from edge_ad.errors import DataError, IncompatibleError, UsageError
from edge_ad.files import write_text
from edge_ad.onnx_graph.index import GraphIndex

_AGAIN = "Collect ranges anew with: edge-ad calibrate ENGINE.onnx --images GOOD_DIR"
Amax = Annotated[float, Field(gt=0.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TensorRange(_Strict):
    """Least and largest value seen, and by method the largest absolute value to keep."""

    low: float
    high: float
    amax: dict[str, Amax]


class ModelId(_Strict):
    """The fp32 engine the ranges belong to."""

    method: str
    size_hw: tuple[int, int]
    sha256: str


class SetId(_Strict):
    """The images that were seen; `damaged` of them got synthetic defects.

    Ranges that come from elsewhere name their `origin` and count no images.
    """

    sha256: str
    images: Annotated[int, Field(ge=0)]
    damaged: int = 0
    seed: int = 0
    origin: str = "images"


class RangeTable(_Strict):
    """Ranges of one model for one target.

    `silent` names tensors that were zero on every image: they have no range and stay float.
    `frames_seen` must equal the images of all sets: a table knows what it was made from.
    """

    schema_version: Literal[1] = 1
    target: Target
    model: ModelId
    sets: Annotated[tuple[SetId, ...], Field(min_length=1)]
    frames_seen: int
    made_with: dict[str, str] = {}
    silent: tuple[str, ...] = ()
    tensors: dict[str, TensorRange]

    def ranges(self, method: str) -> dict[str, Range]:
        """What to tell apart by one method: never wider than what was seen."""
        return {
            name: Range(max(found.low, -found.amax[method]), min(found.high, found.amax[method]))
            for name, found in self.tensors.items()
        }


def model_id(graph: GraphIndex) -> ModelId:
    return ModelId(
        method=graph.manifest.method, size_hw=graph.manifest.size_hw, sha256=graph.sha256
    )


def save_table(table: RangeTable, path: Path) -> None:
    """Write the table in one step. Raises DataError when it saw other than its sets' images."""
    _check_frames(table, str(path))
    text = yaml.safe_dump(table.model_dump(mode="json"), sort_keys=False, default_flow_style=None)
    write_text(path, "# Ranges for int8, written by edge-ad calibrate.\n" + text)


def load_table(path: Path) -> RangeTable:
    """Read and check a table.

    Raises UsageError for a missing file, DataError for one that is malformed, holds a range that
    is zero or not a number, or did not see all images of its sets.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"no range table at {path}. {_AGAIN}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as a range table ({error}). {_AGAIN}") from error
    table = _validated(content, path)
    _check_frames(table, str(path))
    for name, found in table.tensors.items():
        _check_range(name, found, path)
    return table


def check_fits(table: RangeTable, graph: GraphIndex, placement: Placement, name: str) -> None:
    """Raise IncompatibleError naming the first mismatch between a table, a model and a target."""
    here = model_id(graph)
    mismatch = [
        ("target", table.target, placement.target),
        ("method", table.model.method, here.method),
        ("size", table.model.size_hw, here.size_hw),
    ]
    unknown = next((t for t in table.tensors if t not in graph.producers), None)
    known = {*table.tensors, *table.silent}
    missing = next((tensor for tensor in placement.tensors if tensor not in known), None)
    if unknown:
        mismatch.append(("tensor", unknown, "no tensor of that name"))
    if missing:
        mismatch.append(("tensor", "no range of that name", missing))
    mismatch.append(("sha256", table.model.sha256[:12], here.sha256[:12]))
    for what, theirs, ours in mismatch:
        if theirs != ours:
            raise IncompatibleError(
                f"{name}: ranges of another model or target. First mismatch: {what} is {theirs} in "
                f"the table, {ours} for {graph.name}. {_AGAIN}"
            )


def merge(tables: Sequence[RangeTable], names: Sequence[str]) -> RangeTable:
    """One table that covers what each camera saw: by tensor and method the widest range.

    Raises IncompatibleError naming the first table that belongs to another model or target, and
    UsageError when two tables come from the same images.
    """
    first = tables[0]
    for table, name in zip(tables[1:], names[1:], strict=True):
        if (table.model, table.target) != (first.model, first.target):
            raise IncompatibleError(
                f"{name}: belongs to {_told(table)}, {names[0]} to {_told(first)}. Only tables of "
                "one model and target merge."
            )
    sets = [found for table in tables for found in table.sets]
    if len({found.sha256 for found in sets}) < len(sets):
        raise UsageError("two of the tables come from the same images; give each table once.")
    tensors = dict.fromkeys(name for table in tables for name in table.tensors)
    return RangeTable(
        target=first.target,
        model=first.model,
        sets=tuple(sets),
        frames_seen=sum(table.frames_seen for table in tables),
        made_with=first.made_with,
        silent=tuple(sorted({s for t in tables for s in t.silent} - set(tensors))),
        tensors={name: _widest(tables, name) for name in tensors},
    )


def _widest(tables: Sequence[RangeTable], name: str) -> TensorRange:
    found = [table.tensors[name] for table in tables if name in table.tensors]
    return TensorRange(
        low=min(one.low for one in found),
        high=max(one.high for one in found),
        amax={method: max(one.amax[method] for one in found) for method in found[0].amax},
    )


def _told(table: RangeTable) -> str:
    return f"{table.model.method} {table.model.sha256[:12]} for {table.target}"


def _validated(content: object, path: Path) -> RangeTable:
    try:
        return RangeTable.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        got = repr(first["input"])[:60]
        raise DataError(f"{path}: {where}: {first['msg']}, got {got}. {_AGAIN}") from error


def _check_range(name: str, found: TensorRange, path: Path) -> None:
    if missing := sorted(set(METHODS) - found.amax.keys()):
        raise DataError(f"{path}: tensor '{name}' has no amax by {missing[0]}. {_AGAIN}")
    if not found.low < found.high:
        raise DataError(
            f"{path}: tensor '{name}' has an empty range, {found.low:g} to {found.high:g}. {_AGAIN}"
        )


def _check_frames(table: RangeTable, name: str) -> None:
    images = sum(found.images for found in table.sets)
    if table.frames_seen != images:
        raise DataError(
            f"{name}: saw {table.frames_seen} of {images} images of its calibration set, so "
            f"its ranges are not those of the set. {_AGAIN}"
        )
