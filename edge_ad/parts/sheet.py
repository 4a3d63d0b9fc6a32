"""A contact sheet: one row a part, its images side by side; parts of one image share rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.images import read_image, scaled
from edge_ad.images.bit_depth import ReadImage

_SIDE, _CAPTION_PX, _COLUMNS = 96, 170, 12
_ROWS = 300  # 28 800 pixels: what image viewers open, and 100 MiB in memory
_WHITE, _RED, _GREY = (255, 255, 255), (60, 60, 255), (48, 48, 48)


def draw_sheet(
    groups: Mapping[str, Sequence[Path]], odd: Collection[Path], read: ReadImage = read_image
) -> Image:
    """Return a sheet uint8 (H, W, 3); odd images have a red frame.

    At most 300 rows, those with odd images first, and 12 images a row; captions give the counts.
    """
    columns = _COLUMNS if _singles(groups) else min(_COLUMNS, max(map(len, groups.values())))
    rows = [_row(title, paths, odd, columns, read) for title, paths in _titled(groups, odd)[:_ROWS]]
    return np.vstack(rows)


def _titled(
    groups: Mapping[str, Sequence[Path]], odd: Collection[Path]
) -> list[tuple[str, Sequence[Path]]]:
    """Return titles and images of rows, those with odd images first."""
    rows = [(part, paths) for part, paths in groups.items() if len(paths) > 1]
    singles = _singles(groups)
    chunks = [singles[start : start + _COLUMNS] for start in range(0, len(singles), _COLUMNS)]
    rows += [(f"{len(chunk)} parts, one each", chunk) for chunk in chunks]
    return sorted(rows, key=lambda row: not any(path in odd for path in row[1]))


def _singles(groups: Mapping[str, Sequence[Path]]) -> list[Path]:
    return [paths[0] for paths in groups.values() if len(paths) == 1]


def _row(
    title: str, paths: Sequence[Path], odd: Collection[Path], columns: int, read: ReadImage
) -> Image:
    row = np.full((_SIDE, _CAPTION_PX + columns * _SIDE, 3), _GREY, np.uint8)
    marked = sum(path in odd for path in paths)
    lines = [title[:24], f"{len(paths)} images" if len(paths) > 1 else "1 image"]
    lines += [f"{marked} odd"] if marked else []
    for number, text in enumerate(lines):
        line = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
        place = (6, 24 + 20 * number)
        colour = _RED if number == 2 else _WHITE
        cv2.putText(row, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    shown = sorted(paths, key=lambda path: path not in odd)[:columns]
    for column, tile in enumerate(_tiles(shown, odd, read)):
        left = _CAPTION_PX + column * _SIDE
        row[:, left : left + _SIDE] = tile
    return row


def _tiles(paths: Sequence[Path], odd: Collection[Path], read: ReadImage) -> Iterator[Image]:
    for path in paths:
        image = read(path)
        small = scaled(image, (_SIDE - 4) / max(image.shape[:2]))
        tile = np.full((_SIDE, _SIDE, 3), _RED if path in odd else _GREY, np.uint8)
        tile[2 : 2 + small.shape[0], 2 : 2 + small.shape[1]] = small
        yield tile
