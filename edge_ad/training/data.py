"""Good images as network-size tiles: decoded once, through the line's own preprocessing."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.dataset import readable
from edge_ad.errors import DataError
from edge_ad.files import sha256_of
from edge_ad.frame import Image
from edge_ad.frame_gate import content_fault
from edge_ad.preprocess import Preprocess

_log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 2 << 30
HELD_BACK_SHARE = 0.1
HELD_BACK_RUN = 4  # neighbours by name often show one part; they go to the same side together


@dataclass(frozen=True)
class NormalTiles:
    """Tiles uint8 (n, H, W, 3) BGR, `image` (n,) the number of the image each was cut from."""

    tiles: Image
    image: NDArray[np.intp]
    images: int
    skipped: tuple[str, ...]
    data_sha256: str

    def split(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Tile numbers to train on and tile numbers held back; a tenth of the images, in runs.

        Fewer than eight images are all used for both.
        """
        if self.images < 8:
            every = np.arange(len(self.tiles))
            return every, every
        run = min(HELD_BACK_RUN, self.images // 8)
        period = round(run / HELD_BACK_SHARE)
        back = self.image % period >= period - run
        if not back.any():
            back = self.image >= self.images - run
        return np.flatnonzero(~back), np.flatnonzero(back)


def load_tiles(paths: Sequence[Path], preprocess: Preprocess) -> NormalTiles:
    """Decode, crop and cut; unreadable, black and saturated images are left out and named.

    Raises DataError when none is left, UsageError when the geometry does not fit one.
    """
    count = preprocess.geometry.tile_count
    tiles = _array((len(paths) * count, *preprocess.size_hw, 3))
    read: list[Path] = []
    for path, image in _telling(paths):
        tiles[len(read) * count : (len(read) + 1) * count] = preprocess(image)
        read.append(path)
    if not read:
        raise DataError("no images to train on.")
    kept = set(read)
    return NormalTiles(
        tiles=tiles[: len(read) * count],
        image=np.repeat(np.arange(len(read)), count),
        images=len(read),
        skipped=tuple(str(path) for path in paths if path not in kept),
        data_sha256=sha256_of(read),
    )


def _telling(paths: Sequence[Path]) -> Iterator[tuple[Path, Image]]:
    """The readable images that the line would judge too."""
    faults: list[str] = []
    good = 0
    for path, image in readable(paths):
        if fault := content_fault(image):
            faults.append(f"{path}: {fault}")
            _log.warning("left out: %s", faults[-1])
            continue
        good += 1
        yield path, image
    if faults and not good:
        raise DataError(f"none of the {len(faults)} images shows a part. The first: {faults[0]}")


def _array(shape: tuple[int, ...]) -> Image:
    """Memory, or a nameless file on disk when the tiles are many."""
    if int(np.prod(shape)) <= IN_MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)
