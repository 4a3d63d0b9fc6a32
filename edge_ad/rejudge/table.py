"""Rows of judged images as Parquet: the only module that imports pyarrow."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    from edge_ad.errors import MissingExtra

    raise MissingExtra("rejudge", "pyarrow", "rejudge") from error

from edge_ad.errors import DataError
from edge_ad.inspection import Region

Row = dict[str, Any]
_METADATA = b"edge_ad.rejudge"
_REGION = pa.struct(
    [
        *((name, pa.int32()) for name in ("x", "y", "width", "height", "area_px")),
        ("peak", pa.float64()),
        ("peak_x", pa.int32()),
        ("peak_y", pa.int32()),
    ]
)
_ANSWER = (
    ("verdict", pa.string()),
    ("score", pa.float64()),
    ("threshold", pa.float64()),
    ("regions", pa.list_(_REGION)),
    ("reason", pa.string()),
)
_IMAGE = (("path", pa.string()), ("width", pa.int32()), ("height", pa.int32()))
_MAP = (
    ("map", pa.binary()),
    ("map_height", pa.int32()),
    ("map_width", pa.int32()),
    ("map_x", pa.float64()),
    ("map_y", pa.float64()),
    ("map_scale_x", pa.float64()),
    ("map_scale_y", pa.float64()),
)
AGAINST = "against_"  # before the columns of the other engine
Schema: TypeAlias = Any  # pyarrow has no types
Table: TypeAlias = Any


def make_schema(job: dict[str, Any]) -> Schema:
    """Return the columns of a job; its description travels in the file."""
    fields = [*_IMAGE, *_ANSWER]
    if job["against"] is not None:
        fields += [(AGAINST + name, kind) for name, kind in _ANSWER]
    if job["maps"]:
        fields += _MAP
    return pa.schema(fields, {_METADATA: json.dumps(job).encode()})


def as_region(region: Region) -> Row:
    """Return a region as the columns of one."""
    names = ("x", "y", "width", "height", "area_px", "peak")
    values = {name: getattr(region, name) for name in names}
    return values | {"peak_x": region.peak_xy[0], "peak_y": region.peak_xy[1]}


def shown_path(path: str) -> str:
    """Return a path as text; bytes of a file name that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def finite(value: float) -> float | None:
    """Return a number, None in place of NaN: an INVALID image has no score."""
    return None if math.isnan(value) else value


def make_table(rows: Sequence[Row], schema: Schema) -> Table:
    """Return rows as a table."""
    return pa.Table.from_pylist(rows, schema)


def write_table(path: Path, table: Table) -> None:
    """Write one table, compressed."""
    pq.write_table(table, path, compression="zstd")


def is_part(path: Path, schema: Schema, expected: Sequence[str]) -> bool:
    """Return whether a file holds exactly the expected images in the expected columns."""
    try:
        table = pq.read_table(path, columns=["path"])
        columns = pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return False
    paths = [shown_path(path) for path in expected]
    return bool(columns == schema.names and table["path"].to_pylist() == paths)


def join_parts(paths: Iterable[Path], schema: Schema, target: Path) -> int:
    """Write all parts into one file, one group of rows each, and return the number of rows.

    The file is on the disk when this returns.
    """
    rows = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for path in paths:
            table = pq.read_table(path)
            writer.write_table(table.replace_schema_metadata(schema.metadata))
            rows += table.num_rows
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return rows


def read_job(path: Path) -> dict[str, Any] | None:
    """Return the description of the job that wrote a file, None for another file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        job = json.loads(metadata[_METADATA])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    return job if isinstance(job, dict) else None


def read_columns(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a result with some columns, without loading the others."""
    for batch in pq.ParquetFile(path).iter_batches(columns=list(columns)):
        yield from batch.to_pylist()


def read_paths(path: Path, column: str) -> list[str]:
    """Return a column of texts. Raises DataError for another file, or one without the column."""
    try:
        schema = pq.read_schema(path)
        if schema.names.count(column) != 1:
            columns = ", ".join(schema.names) or "none"
            raise DataError(f"{path}: expected one column '{column}', got: {columns}.")
        values = pq.read_table(path, columns=[column])[column].to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({_first_line(error)}).") from error
    for number, value in enumerate(values, 1):
        if not isinstance(value, str):
            raise DataError(
                f"{path}: column '{column}' must hold texts, got {value!r:.80} in row {number}."
            )
    return cast(list[str], values)


def to_bytes(table: Table) -> bytes:
    """Return a table as Arrow's stream, which other processes read."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_bytes(data: bytes) -> Table:
    """Return the table of `to_bytes`."""
    return pa.ipc.open_stream(data).read_all()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else "empty"
