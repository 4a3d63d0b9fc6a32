"""Splits that keep all images of a part in one set, and their files."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_ad.errors import DataError, UsageError
from edge_ad.files import write_text
from edge_ad.parts.assignment import PartAssignment
from edge_ad.strict_yaml import dump_yaml

_SUFFIXES = (".csv", ".yaml", ".yml")
_COLUMNS = ("image", "part", "set")


def split_parts(
    assignment: PartAssignment, shares: Mapping[str, float], seed: int = 0
) -> dict[str, list[Path]]:
    """Divide the images into disjoint sets of whole parts, like {"train": 0.8, "threshold": 0.2}.

    Shares are shares of the parts, positive, and are scaled to their sum. Every set gets at least
    one part. Which parts a set gets depends on part names and `seed` alone, not on the order of the
    images. Raises UsageError for a share that is not positive, DataError for fewer parts than sets.
    """
    _check(shares)
    groups = assignment.groups()
    if len(groups) < len(shares):
        raise DataError(
            f"{_count(len(groups))} cannot be divided into {len(shares)} sets "
            f"({', '.join(shares)}): each needs a part to itself. Collect images of more parts."
        )
    order = sorted(groups, key=lambda part: _rank(part, seed))
    sets: dict[str, list[Path]] = {}
    for name, size in _sizes(len(order), shares).items():
        taken, order = set(order[:size]), order[size:]
        sets[name] = [path for path, part in assignment.parts.items() if part in taken]
    return sets


def check_split_file(path: Path) -> None:
    """Raise UsageError for a name that is not of a CSV or YAML file."""
    if path.suffix.lower() not in _SUFFIXES or path.is_dir():
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


def _check(shares: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if not (share > 0 and math.isfinite(share)):
            raise UsageError(f"the share of '{name}' must be positive and finite, got {share}.")
    if not shares:
        raise UsageError("a split needs at least one set, like train=0.8.")


def _sizes(parts: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return the number of parts of each set: at least one, the rest by largest remainder."""
    spare, total = parts - len(shares), sum(shares.values())
    exact = {name: max(0.0, parts * share / total - 1) for name, share in shares.items()}
    scale = spare / sum(exact.values()) if sum(exact.values()) else 0.0
    sizes = {name: math.floor(value * scale + 1e-9) for name, value in exact.items()}
    rest = sorted(shares, key=lambda name: sizes[name] - exact[name] * scale)
    for name in rest[: spare - sum(sizes.values())]:
        sizes[name] += 1
    return {name: size + 1 for name, size in sizes.items()}


def _rank(part: str, seed: int) -> str:
    """Order parts by a hash: the same on every platform, and little changed by one part more."""
    return hashlib.sha256(f"{seed}\0{part}".encode()).hexdigest()


def _count(parts: int) -> str:
    return "one part" if parts == 1 else f"{parts} parts"
