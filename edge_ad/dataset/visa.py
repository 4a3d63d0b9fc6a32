"""VisA's layout: a CSV file names images, labels and masks.

Columns `image`, `label` and, where known, `mask`, `split` (train or test) and `object`; paths are
relative to the CSV file's folder or the one above.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from edge_ad.dataset.by_type import unmasked
from edge_ad.dataset.kolektor_sdd import NO_SPLIT
from edge_ad.dataset.layout import Layout
from edge_ad.dataset.names import is_normal
from edge_ad.dataset.sample import NORMAL, Fault, Listing, Sample
from edge_ad.errors import DataError
from edge_ad.files import printable
from edge_ad.images.listing import BESIDE

_Row: TypeAlias = "dict[str, str]"
_OFFICIAL = "1cls.csv"  # VisA's split for training without anomalous images


def _tables(folder: Path) -> list[Path]:
    """List the CSV files with the columns, the official split first."""
    places = (folder / "split_csv", folder.parent / "split_csv", folder)
    files = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
    tables = [path for path in files if path.suffix.lower() == ".csv" and _has_columns(path)]
    return sorted(tables, key=lambda path: path.name.lower() != _OFFICIAL)


def header_problem(folder: Path) -> str:
    """Return which CSV file in `folder` lacks the columns, and its first line; empty if none does.

    Lists of parts, which need others, and files that cannot be opened do not count.
    """
    for path in sorted(folder.glob("*.[cC][sS][vV]")):
        if path.name not in BESIDE and path.is_file() and not _has_columns(path):
            with suppress(OSError), path.open(encoding="utf-8-sig", errors="replace") as file:
                first = printable(file.readline(200).rstrip())
                return (
                    f"{path}: no table of images, since its first line is '{first}'. Expected the "
                    "columns image and label there, and mask and split where they are known, in "
                    "UTF-8."
                )
    return ""


def _has_columns(path: Path) -> bool:
    try:
        row = next(_rows(path), {})
    except (OSError, csv.Error):
        return False
    return {"image", "label"} <= set(row)


def _rows(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = file.readline()
        delimiter = max(",;\t", key=header.count)
        file.seek(0)
        for row in csv.DictReader(file, delimiter=delimiter, restval=""):
            yield {str(key).strip().lower(): str(value).strip() for key, value in row.items()}


def _read(folder: Path) -> Listing:
    table = _table(folder)
    rows = _of_object(list(_rows(table)), folder, table)
    bases = (table.parent, table.parent.parent, folder)
    split = any(row.get("split") for row in rows)
    tests = [row for row in rows if not split or row["split"].lower() != "train"]
    samples = [_sample(row, bases) for row in tests]
    trained = rows if not split else [row for row in rows if row["split"].lower() == "train"]
    train = [_find(row["image"], bases) for row in trained if is_normal(row["label"])]
    named = Counter([_find(row["image"], bases) for row in rows])
    twice = [
        Fault(path, f"{table.name} lists it {count} times; keep one row")
        for path, count in named.items()
        if count > 1
    ]
    files = [*train, *(path for s in samples for path in (s.path, *s.masks))]
    missing = tuple(
        Fault(path, f"{table.name} names it, but there is no such file")
        for path in dict.fromkeys(files)
        if not _is_file(path)
    )
    return Listing(
        train=tuple(train),
        samples=tuple(sorted(samples, key=lambda s: (s.anomalous, s.kind, s.path))),
        faults=(*unmasked(samples), *missing, *twice),
        notes=() if split else (NO_SPLIT,),
    )


def _table(folder: Path) -> Path:
    tables = _tables(folder)
    if not tables:
        raise DataError(f"{folder}: no CSV file with the columns image and label in it.")
    inside = [path for path in tables if path.parent in (folder, folder / "split_csv")]
    if tables[0].name.lower() != _OFFICIAL and len(inside) > 1:
        names = ", ".join(path.name for path in inside)
        raise DataError(f"{folder}: several CSV files list images ({names}). Keep one of them.")
    return tables[0]


def _of_object(rows: list[_Row], folder: Path, table: Path) -> list[_Row]:
    """Keep the rows of the object that `folder` is named after, where the table has several."""
    objects = sorted({row["object"] for row in rows if row.get("object")})
    if folder.name in objects:
        return [row for row in rows if row["object"] == folder.name]
    if len(objects) > 1:
        raise DataError(
            f"{table}: lists {len(objects)} objects ({', '.join(objects)}), and a detector knows "
            f"one. Name its folder, for example {folder / objects[0]}"
        )
    return rows


def _sample(row: _Row, bases: tuple[Path, ...]) -> Sample:
    kind = NORMAL if is_normal(row["label"]) else row["label"] or "defect"
    mask = row.get("mask", "")
    return Sample(_find(row["image"], bases), kind, (_find(mask, bases),) if mask else ())


def _find(name: str, bases: tuple[Path, ...]) -> Path:
    places = [base / name.replace("\\", "/") for base in bases]
    return next((path for path in places if _is_file(path)), places[0])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL character
        return False


VISA = Layout(
    name="visa",
    title="VisA",
    tree="a CSV file with the columns image, label, mask and split (split_csv/1cls.csv, or "
    "image_anno.csv in the object's folder)",
    matches=lambda folder: bool(_tables(folder)),
    read=_read,
)
