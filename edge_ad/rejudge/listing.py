"""Which images an archive holds: a folder with all below it, or a list of paths."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge_ad.dataset.folders import folders_below, split_masks
from edge_ad.errors import DataError, SourceLost, UsageError
from edge_ad.images import SUFFIXES, list_folder, named
from edge_ad.rejudge.table import read_paths

COLUMN = "path"
_LISTS = (".txt", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class ArchiveListing:
    """Absolute paths of images, none twice, in a fixed order.

    `repeated` counts entries of a list that name an image again, `left_out` files of a folder that
    are no images or are masks. `root` is a folder that all images are below.
    """

    paths: tuple[str, ...]
    root: str
    repeated: int = 0
    left_out: int = 0


def list_archive(images: Path) -> ArchiveListing:
    """List the images below a folder, or those that a .txt, .csv or .parquet file names.

    Relative paths in a file are relative to its folder. Raises SourceLost for an archive that does
    not exist or is empty, UsageError for a file of another kind, DataError for one without paths.
    """
    if images.is_dir():
        return _list_folder(images)
    if not images.exists():
        raise SourceLost(f"{images}: no such file or folder. Check the name given with --images.")
    if images.suffix.lower() not in _LISTS:
        hint = " To judge one image: edge-ad run." if images.suffix.lower() in SUFFIXES else ""
        raise UsageError(
            f"--images {images}: expected a folder, or a list that ends in {', '.join(_LISTS)}."
            + hint
        )
    if not images.is_file():
        raise UsageError(f"--images {images}: not a file, so its length is unknown. Save the list.")
    entries = _read_list(images)
    folder = os.path.abspath(images.parent)
    paths = [os.path.normpath(os.path.join(folder, entry)) for entry in entries]
    unique = tuple(dict.fromkeys(paths))
    if not unique:
        raise SourceLost(f"{images} lists no images.")
    root = os.path.commonpath([os.path.dirname(path) for path in unique])
    return ArchiveListing(unique, root, repeated=len(paths) - len(unique))


def _list_folder(folder: Path) -> ArchiveListing:
    root = Path(os.path.abspath(folder))
    paths, left_out = list[str](), list[str]()
    for place in folders_below(root):
        listing = list_folder(place)
        images, masks = split_masks(listing.images)
        paths += map(str, images)
        names = [name for name in listing.left_out if not (place / name).is_dir()]
        left_out += [str(place / name) for name in names] + [str(mask) for mask in masks]
    if not paths:
        others = f" Left out: {named(left_out)}." if left_out else ""
        raise SourceLost(
            f"{folder}: no images below it. Expected files ending in "
            f"{', '.join(sorted(SUFFIXES))}.{others}"
        )
    return ArchiveListing(tuple(paths), str(root), left_out=len(left_out))


def _read_list(file: Path) -> list[str]:
    if file.suffix.lower() == ".parquet":
        return _checked(file, read_paths(file, COLUMN))
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error}). Save the list as UTF-8 text.") from error
    if file.suffix.lower() == ".csv":
        return _checked(file, _column(file, text))
    # not splitlines(): a name may hold what Unicode calls a line break
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    return _checked(file, [line for line in lines if line])


def _column(file: Path, text: str) -> list[str]:
    """Return the column `path` of a table with a header."""
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""))
    except ValueError:
        header, rows = [], []
    except csv.Error as error:
        raise DataError(f"{file}: not a table with commas ({error}).") from error
    if header.count(COLUMN) != 1:
        columns = ", ".join(header) or "none"
        raise DataError(f"{file}: expected one column '{COLUMN}', got: {columns}.")
    for number, row in enumerate(rows, 1):
        if row and len(row) != len(header):
            raise DataError(
                f"{file}: row {number} has {len(row)} fields, the header {len(header)}. Put quotes "
                "around paths that contain commas."
            )
    return [row[header.index(COLUMN)].strip() for row in rows if row]


def _checked(file: Path, entries: list[str]) -> list[str]:
    """Return the entries. Raises DataError for one that cannot be a path."""
    for number, entry in enumerate(entries, 1):
        if not entry.strip() or "\0" in entry:
            what = "contains a zero byte" if entry.strip() else "is empty"
            raise DataError(f"{file}: path {number} {what}. Leave it out, or correct the list.")
    return entries
