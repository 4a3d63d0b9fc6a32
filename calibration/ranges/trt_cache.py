"""TensorRT's calibration cache, a text file for DeepStream and `trtexec --calib` of TensorRT 10.

One line per tensor: its scale, amax over 127, as the eight hex digits of a big-endian float32. The
first line names version and algorithm; TensorRT takes only a cache of its own version, so the
scales are portable and the file is not. A Q/DQ graph needs no cache.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

from edge_ad.calibration.ranges.methods import METHODS
from edge_ad.calibration.ranges.table import ImageSetId, RangeTable, TensorRange, model_id
from edge_ad.calibration.ranges.target import SIGNED, Range
from edge_ad.errors import DataError, UsageError
from edge_ad.files import sha256, write_text
from edge_ad.onnx_graph.index import GraphIndex

_HEAD = re.compile(r"TRT-(\d+)-(\w+Calibration2?)$")
_LINE = re.compile(r"(?P<tensor>.+): (?P<scale>[0-9a-fA-F]{8})$")


def header(version: str) -> str:
    """Return the first line: '10.3.0' -> 'TRT-100300-EntropyCalibration2'.

    Before version 10 the number has four digits: '8.6.1' -> 'TRT-8601-EntropyCalibration2'.

    The algorithm is the one DeepStream and trtexec expect; it does not depend on the range method.
    """
    numbers = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version)
    if not numbers:
        raise UsageError(f"'{version}': expected a TensorRT version like 10.3.0.")
    major, minor, patch = (int(number) for number in numbers.groups())
    number = major * (10000 if major >= 10 else 1000) + minor * 100 + patch
    return f"TRT-{number}-EntropyCalibration2"


def save_cache(ranges: Mapping[str, Range], path: Path, version: str) -> None:
    """Write the ranges of one method for one TensorRT version, in one step."""
    lines = [header(version)]
    for tensor, limits in ranges.items():
        scale = max(-limits.low, limits.high) / SIGNED
        lines.append(f"{tensor}: {struct.pack('>f', scale).hex()}")
    write_text(path, "\n".join(lines) + "\n")


def load_cache(path: Path) -> dict[str, float]:
    """Read amax by tensor. Raises DataError for a file that is no cache or has an invalid scale."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UsageError(f"no calibration cache at {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a calibration cache ({error}).") from error
    if not lines or not _HEAD.match(lines[0]):
        first = lines[0][:40] if lines else ""
        raise DataError(
            f"{path}: not a TensorRT calibration cache: expected a first line like "
            f"'{header('10.3.0')}', got '{first}'."
        )
    return dict(_entry(line, path) for line in lines[1:] if line.strip())


def table_from_cache(path: Path, graph: GraphIndex) -> RangeTable:
    """Make a range table for TensorRT from a cache: every method gets the cache's own ranges.

    Entries for tensors that are not in the graph (fused away, or TensorRT's own) are left out.
    Raises DataError when none is left: the cache then belongs to another model.
    """
    ranges = {name: amax for name, amax in load_cache(path).items() if name in graph.producers}
    if not ranges:
        raise DataError(
            f"{path}: names no tensor of {graph.name}. The cache belongs to another model, or to "
            "another export of it with other tensor names."
        )
    return RangeTable(
        target="tensorrt",
        model=model_id(graph),
        sets=(ImageSetId(sha256=sha256(path), images=0, origin="TensorRT calibration cache"),),
        images=0,
        tensors={
            name: TensorRange(low=-amax, high=amax, amax=dict.fromkeys(METHODS, amax))
            for name, amax in ranges.items()
        },
    )


def _entry(line: str, path: Path) -> tuple[str, float]:
    parts = _LINE.match(line)
    if not parts:
        raise DataError(f"{path}: expected 'tensor: 8 hex digits', got '{line[:60]}'.")
    (scale,) = struct.unpack(">f", bytes.fromhex(parts["scale"]))
    if not 0 < scale < float("inf"):
        raise DataError(f"{path}: tensor '{parts['tensor']}' has the scale {scale}, expected > 0.")
    return parts["tensor"], scale * SIGNED
