"""Encode images and write them to files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import OutletLost
from edge_ad.files import write_bytes

_ENCODED_IN_MEMORY = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def encode_image(image: NDArray[np.uint8], suffix: str, quality: int = 90) -> bytes:
    """Encode an image to the bytes of a file; `quality` applies to JPEG only.

    Raises OutletLost where OpenCV has no such format, or cannot encode an image of that shape.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in {".jpg", ".jpeg"} else []
    try:
        if suffix.lower() not in _ENCODED_IN_MEMORY:
            return _encode_to_file(image, suffix)
        done, data = cv2.imencode(suffix, image, options)
    except (cv2.error, OSError) as error:
        reason = getattr(error, "err", "") or str(error)
        raise OutletLost(f"OpenCV cannot write a {suffix} image: {reason}.") from error
    if not done:
        raise OutletLost(f"OpenCV cannot encode a {suffix} image of shape {image.shape}.")
    return bytes(data)


def _encode_to_file(image: NDArray[np.uint8], suffix: str) -> bytes:
    """Encode with an encoder that may write files only.

    OpenCV's own temporary file would stay when that fails, as it does for a small JPEG 2000.
    """
    with TemporaryDirectory(prefix="edge-ad-") as folder:
        file = Path(folder) / f"image{suffix}"
        if not cv2.imwrite(str(file), image):
            raise OutletLost(f"OpenCV cannot encode a {suffix} image of shape {image.shape}.")
        return file.read_bytes()


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image atomically; the suffix chooses the format."""
    write_bytes(path, encode_image(image, path.suffix))
