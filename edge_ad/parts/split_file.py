"""Write a split to a file: image, part and set."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_ad.errors import UsageError
from edge_ad.files import write_text
from edge_ad.parts.assignment import PartAssignment
from edge_ad.strict_yaml import dump_yaml

SUFFIXES = (".csv", ".yaml", ".yml")
_COLUMNS = ("image", "part", "set")


def check_split_file(path: Path) -> None:
    """Raise UsageError for a name that is not of a CSV or YAML file."""
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise UsageError(f"--split {path}: expected the name of a .csv or .yaml file.")


def write_split(
    path: Path, assignment: PartAssignment, sets: Mapping[str, Sequence[Path]], root: Path
) -> None:
    """Write one row an image, atomically; paths are relative to `root`, with '/'."""
    set_of = {image: name for name, images in sets.items() for image in images}
    rows = [
        (image.relative_to(root).as_posix(), part, set_of[image])
        for image, part in assignment.parts.items()
    ]
    if path.suffix.lower() == ".csv":
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([_COLUMNS, *rows])
        write_text(path, buffer.getvalue())
    else:
        write_text(path, dump_yaml([dict(zip(_COLUMNS, row, strict=True)) for row in rows]))
