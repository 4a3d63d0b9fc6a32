"""Mutated image files of every container that OpenCV or Pillow writes."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from edge_ad.errors import DataError, OutletLost
from edge_ad.images import BIT_DEPTHS, encode_image, find_depth, read_image
from fuzzing.mutations import Rng, mutate, pick

_BY_OPENCV = (".bmp", ".jp2", ".pgm", ".ppm", ".pam", ".ras", ".hdr", ".exr", ".pfm")
_BY_PILLOW = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "MPO", "AVIF", "JPEG2000")
_ORIENTATION = 274


@functools.lru_cache(maxsize=1)
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Return small valid files, suffix and content: containers, depths, alpha, orientations."""
    rng = np.random.default_rng(0)
    colour = rng.integers(20, 200, (24, 32, 3)).astype(np.uint8)
    files = [(suffix, _opencv(suffix, colour)) for suffix in _BY_OPENCV]
    for deep in (rng.integers(0, 4096, (24, 32)), rng.integers(0, 65536, (24, 32))):
        files += [(suffix, _opencv(suffix, deep.astype(np.uint16))) for suffix in (".png", ".tiff")]
    opaque, hidden = (
        np.dstack([colour, np.full((24, 32), value, np.uint8)]) for value in (255, 90)
    )
    for kind in _BY_PILLOW:
        files += [(f".{kind.lower()}", _pillow(colour, kind, turn)) for turn in (1, 3, 6)]
        files.append((f".{kind.lower()}", _pillow(colour[:, :, 0].copy(), kind, 1)))
    for alpha in (opaque, hidden):
        files += [(f".{kind.lower()}", _pillow(alpha, kind, 1)) for kind in ("PNG", "WEBP", "TIFF")]
    suffixes = {".jpeg2000": ".jp2", ".mpo": ".jpg"}
    return tuple((suffixes.get(suffix, suffix), data) for suffix, data in files if data)


def mutated(rng: Rng) -> tuple[str, bytes]:
    """Return suffix and bytes of one mutated image; one in twenty keeps another's suffix."""
    suffix, data = pick(rng, seeds())
    other = pick(rng, seeds())
    return (other[0] if rng.random() < 0.05 else suffix), mutate(data, rng, other[1])


def images(rng: Rng, folder: Path) -> bool:
    """Read one mutated image; what is accepted is uint8 (H, W, 3)."""
    suffix, data = mutated(rng)
    path = folder / f"image{suffix}"
    path.write_bytes(data)
    depth = pick(rng, BIT_DEPTHS) if rng.random() < 0.2 else None
    try:
        find_depth([path])
    except DataError as error:
        assert path.name in str(error), error
    image = read_image(path, depth)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, image.shape
    assert image.size, image.shape
    assert np.array_equal(image, read_image(path, depth)), "the same file gives two images"
    return True


def _opencv(suffix: str, pixels: NDArray[Any]) -> bytes:
    kind = np.float32 if suffix in {".hdr", ".exr", ".pfm"} else pixels.dtype
    try:
        return encode_image(pixels.astype(kind), suffix)
    except OutletLost:  # a build without this writer, or pixels that it does not take
        return b""


def _pillow(pixels: NDArray[Any], kind: str, orientation: int) -> bytes:
    exif = Pillow.Exif()
    exif[_ORIENTATION] = orientation
    tagged: dict[str, Any] = {"exif": exif} if kind in {"PNG", "JPEG", "WEBP", "AVIF"} else {}
    if kind == "TIFF":
        tagged = {"tiffinfo": {_ORIENTATION: orientation}}
    file = io.BytesIO()
    try:
        Pillow.fromarray(pixels).save(file, kind, **tagged)
    except (KeyError, OSError):  # a build without this writer
        return b""
    return file.getvalue()
