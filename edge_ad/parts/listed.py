"""Part ids in files beside the images: `parts.csv`, and `capture.jsonl` by `edge-ad capture`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_ad.errors import DataError
from edge_ad.parts.bursts import bursts, time_in
from edge_ad.parts.names import Named

TABLE, CAPTURE = "parts.csv", "capture.jsonl"  # images.listing.BESIDE
_PART_COLUMNS = ("part", "tile", "part_id")


def from_table(paths: Sequence[Path], root: Path) -> tuple[dict[Path, str], dict[Path, str]] | None:
    """Return the parts by `parts.csv`, and images it does not list; None without the file.

    It lies in `root` or beside the images, and has columns `image` (a name, or a path below `root`)
    and `part`; rows of other images are ignored. Raises DataError for a file without these columns,
    with an empty part, with two parts for one image, or with none of the images.
    """
    table = _beside(paths, root, TABLE)
    if table is None:
        return None
    part_of = _read_table(table)
    parts, left_out = {}, {}
    for path in paths:
        keys = [path.relative_to(base).as_posix()
                for base in (root, table.parent) if path.is_relative_to(base)]  # fmt: skip
        part = next((part_of[key] for key in (*keys, path.name) if key in part_of), None)
        if part is None:
            left_out[path] = f"not listed in {table}"
        else:
            parts[path] = part
    if paths and not parts:
        raise DataError(
            f"{table}: lists none of the {len(paths)} images, like '{paths[0].name}'. Expected "
            "their names in the column 'image'."
        )
    return parts, left_out


def from_capture(paths: Sequence[Path], root: Path) -> Named | None:
    """Return the parts by `capture.jsonl`: as noted, else by bursts of capture times.

    Where only some images have a noted part, the others begin as parts of one image. None where
    the file has neither. Raises DataError for a line that is not a record of `capture`.
    """
    record = _beside(paths, root, CAPTURE)
    if record is None:
        return None
    entries = {str(entry["image"]): entry for entry in _read_capture(record)}
    facts = [entries.get(path.name, {}) for path in paths]
    noted = [entry.get("part") for entry in facts]
    if any(noted):
        parts = {path: str(part or path.stem) for path, part in zip(paths, noted, strict=True)}
        return Named(parts, CAPTURE, f"the file {CAPTURE}", inferred=not all(noted))
    times = [time_in(str(entry.get("time_utc", ""))) for entry in facts]
    known = [time for time in times if time is not None]
    numbers = bursts(known) if len(known) == len(paths) else None
    if numbers is None:
        return None
    first = dict(zip(reversed(numbers), reversed(paths), strict=True))
    parts = {path: first[number].stem for path, number in zip(paths, numbers, strict=True)}
    return Named(parts, CAPTURE, f"bursts of times in {CAPTURE}", inferred=True)


def _beside(paths: Sequence[Path], root: Path, name: str) -> Path | None:
    """Return the file `name` in `root`, or in the one folder of all images."""
    folders = {path.parent for path in paths}
    places = [root, *(folders if len(folders) == 1 else ())]
    return next((place / name for place in places if (place / name).is_file()), None)


def _read_table(table: Path) -> dict[str, str]:
    try:
        text = table.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table}: cannot be read as UTF-8 text ({error}).") from error
    lines = text.splitlines()
    separator = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=separator, skipinitialspace=True)
    column = next((name for name in _PART_COLUMNS if name in (rows.fieldnames or ())), None)
    if column is None or "image" not in (rows.fieldnames or ()):
        raise DataError(
            f"{table}: expected a first line with the columns 'image' and 'part', got "
            f"'{lines[0] if lines else ''}'."
        )
    return _checked(table, ((row["image"], row[column]) for row in rows))


def _checked(table: Path, rows: Iterator[tuple[str | None, str | None]]) -> dict[str, str]:
    part_of: dict[str, str] = {}
    for number, (image, part) in enumerate(rows, 2):
        image, part = (image or "").strip().replace("\\", "/"), (part or "").strip()
        if not image or not part:
            raise DataError(f"{table}, row {number}: expected an image and its part, one is empty.")
        if part_of.setdefault(image, part) != part:
            raise DataError(
                f"{table}, row {number}: '{image}' is of part '{part}' here and of part "
                f"'{part_of[image]}' above. Remove one row."
            )
    return part_of


def _read_capture(record: Path) -> Iterator[dict[str, Any]]:
    try:
        text = record.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{record}: cannot be read ({error}).") from error
    # a line without its end was cut off while it was written: its image is there, its facts are not
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            entry: Any = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or "image" not in entry:
            raise DataError(
                f"{record}, line {number}: not a record of edge-ad capture. Remove the line, or "
                "the file to find parts from the images."
            )
        yield entry
