"""The range table: the values every tensor took, for one model and one set of images.

A readable YAML file beside the int8 engine. It can be reused without the images, and the tables of
several cameras that run the same model can be merged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_ad.calibration.ranges.target import Range, Target
from edge_ad.errors import DataError, IncompatibleError, UsageError
from edge_ad.files import write_text
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.strict_yaml import YamlProblem, dump_yaml, load_yaml

_AGAIN = "Collect ranges again with: edge-ad calibrate ENGINE.onnx --images GOOD_DIR"
Amax = Annotated[float, Field(gt=0.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TensorRange(_Strict):
    """Least and largest value observed, and by method the largest absolute value not clipped."""

    low: float
    high: float
    amax: dict[str, Amax]

    @property
    def largest(self) -> float:
        """Return the largest absolute value observed."""
        return max(-self.low, self.high)


class ModelId(_Strict):
    """The fp32 engine the ranges belong to."""

    method: str
    size_hw: tuple[int, int]
    sha256: str


class ImageSetId(_Strict):
    """The images behind the ranges; `synthetic_anomalies` of them got a synthetic anomaly.

    Ranges from elsewhere name their `origin` and count no images.
    """

    sha256: str
    images: Annotated[int, Field(ge=0)]
    synthetic_anomalies: int = 0
    seed: int = 0
    origin: str = "images"


class RangeTable(_Strict):
    """Ranges of one model for one target.

    `all_zero` names tensors that were zero on every image: they have no range and stay float.
    `images` must equal the images of all sets, so that a partial pass is noticed.
    """

    schema_version: Literal[1] = 1
    target: Target
    model: ModelId
    sets: Annotated[tuple[ImageSetId, ...], Field(min_length=1)]
    images: int
    all_zero: tuple[str, ...] = ()
    tensors: dict[str, TensorRange]

    def has(self, method: str) -> bool:
        """Return whether every tensor has a range by this method."""
        return all(method in tensor.amax for tensor in self.tensors.values())

    def ranges(self, method: str) -> dict[str, Range]:
        """Return the ranges by one method, never wider than the values observed.

        Raises DataError when the table was written without this method.
        """
        if not self.has(method):
            raise DataError(f"the range table has no ranges by '{method}'. {self._remedy()}")
        return {
            name: Range(max(t.low, -t.amax[method]), min(t.high, t.amax[method]))
            for name, t in self.tensors.items()
        }

    def _remedy(self) -> str:
        known = dict.fromkeys(name for tensor in self.tensors.values() for name in tensor.amax)
        usable = [name for name in known if self.has(name)]
        return f"It has: {', '.join(usable) or 'none'}. Use one of them, or: {_AGAIN}"


def usable_methods(table: RangeTable, methods: Sequence[str]) -> tuple[str, ...]:
    """Return the methods the table has; raise DataError when it has none of them."""
    usable = tuple(method for method in methods if table.has(method))
    if not usable:
        table.ranges(methods[0])
    return usable


def model_id(graph: GraphIndex) -> ModelId:
    """Return the identity that ties a table to this graph."""
    return ModelId(
        method=graph.manifest.method, size_hw=graph.manifest.size_hw, sha256=graph.sha256
    )


def save_table(table: RangeTable, path: Path) -> None:
    """Write the table in one step. Raises DataError when it does not cover its sets' images."""
    _check_images(table, str(path))
    text = dump_yaml(table.model_dump(mode="json"), flow=None)
    write_text(path, "# Ranges for int8, written by edge-ad calibrate.\n" + text)


def load_table(path: Path) -> RangeTable:
    """Read and check a table.

    Raises UsageError for a missing file, DataError for one that is malformed, has a range that is
    zero or not finite, or does not cover all images of its sets. A table may lack range methods:
    only using such a method is an error.
    """
    try:
        content = load_yaml(path)
    except FileNotFoundError as error:
        raise UsageError(f"no range table at {path}. {_AGAIN}") from error
    except (OSError, YamlProblem) as error:
        raise DataError(f"{path}: cannot be read as a range table ({error}). {_AGAIN}") from error
    table = _validated(content, path)
    _check_images(table, str(path))
    for name, tensor in table.tensors.items():
        if not tensor.low <= tensor.high:  # equal for a tensor that is constant
            raise DataError(
                f"{path}: tensor '{name}' has an empty range, {tensor.low:g} to {tensor.high:g}. "
                f"{_AGAIN}"
            )
    return table


def check_fits(
    table: RangeTable, graph: GraphIndex, target: Target, tensors: Sequence[str], name: str
) -> None:
    """Raise IncompatibleError naming the first mismatch between a table and its intended use.

    `tensors` of `graph` need a range for `target`; `name` is the table's in messages.
    """
    expected = model_id(graph)
    pairs: list[tuple[str, object, object]] = [
        ("target", table.target, target),
        ("method", table.model.method, expected.method),
        ("size", table.model.size_hw, expected.size_hw),
    ]
    unknown = next((tensor for tensor in table.tensors if tensor not in graph.producers), None)
    known = {*table.tensors, *table.all_zero}
    missing = next((tensor for tensor in tensors if tensor not in known), None)
    if unknown:
        pairs.append(("tensor", unknown, "no tensor of that name"))
    if missing:
        pairs.append(("tensor", "no range of that name", missing))
    pairs.append(("sha256", table.model.sha256[:12], expected.sha256[:12]))
    for field, in_table, in_graph in pairs:
        if in_table != in_graph:
            raise IncompatibleError(
                f"{name}: ranges of another model or target. First mismatch: {field} is "
                f"{in_table} in the table, {in_graph} for {graph.name}. {_AGAIN}"
            )


def merge(tables: Sequence[RangeTable], names: Sequence[str]) -> RangeTable:
    """Merge the tables of several cameras: by tensor and method the widest range.

    The result has the methods that all of them have. Raises IncompatibleError naming the first
    table that belongs to another model or target, and UsageError when two tables come from the
    same images.
    """
    first = tables[0]
    for table, name in zip(tables[1:], names[1:], strict=True):
        if (table.model, table.target) != (first.model, first.target):
            raise IncompatibleError(
                f"{name} belongs to {_describe(table)}, {names[0]} to {_describe(first)}. Only "
                "tables of one model and target can be merged."
            )
    sets = [image_set for table in tables for image_set in table.sets]
    if len({image_set.sha256 for image_set in sets}) < len(sets):
        raise UsageError("two of the tables come from the same images; give each table once.")
    tensors = dict.fromkeys(name for table in tables for name in table.tensors)
    return RangeTable(
        target=first.target,
        model=first.model,
        sets=tuple(sets),
        images=sum(table.images for table in tables),
        all_zero=tuple(sorted({name for t in tables for name in t.all_zero} - set(tensors))),
        tensors={name: _widest(tables, name) for name in tensors},
    )


def _widest(tables: Sequence[RangeTable], name: str) -> TensorRange:
    ranges = [table.tensors[name] for table in tables if name in table.tensors]
    methods = [method for method in ranges[0].amax if all(method in r.amax for r in ranges)]
    return TensorRange(
        low=min(r.low for r in ranges),
        high=max(r.high for r in ranges),
        amax={method: max(r.amax[method] for r in ranges) for method in methods},
    )


def _describe(table: RangeTable) -> str:
    return f"{table.model.method} {table.model.sha256[:12]} for {table.target}"


def _validated(content: object, path: Path) -> RangeTable:
    try:
        return RangeTable.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        got = repr(first["input"])[:60]
        raise DataError(f"{path}: {where}: {first['msg']}, got {got}. {_AGAIN}") from error


def _check_images(table: RangeTable, name: str) -> None:
    expected = sum(image_set.images for image_set in table.sets)
    if table.images != expected:
        raise DataError(
            f"{name}: covers {table.images} of the {expected} images of its calibration set, so "
            f"its ranges are not those of the set. {_AGAIN}"
        )
