"""Image files of every container, bit depth, orientation and alpha, for tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

ORIENTATION = 274
LOSSLESS = ("PNG", "TIFF", "WEBP")  # with an orientation tag and without loss


def encoded(pixels: NDArray[Any], kind: str, orientation: int = 1, **options: Any) -> bytes:
    """Encode (H, W) or (H, W, 3 or 4) RGB(A) uint8, or uint16 (H, W), with an orientation tag."""
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    if kind == "TIFF":
        options["tiffinfo"] = {ORIENTATION: orientation} | options.get("tiffinfo", {})
    elif kind in {"PNG", "JPEG", "WEBP", "AVIF"}:
        options["exif"] = exif.tobytes()
    if kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def stored_as(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return the pixels that a file with this orientation stores to show `upright`.

    By EXIF 2.32: where the first row and column of the file lie in the upright image.
    """
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }
    return np.ascontiguousarray(stored[orientation])


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Insert a chunk after a PNG's header."""
    body = kind + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]
