"""Encode images and write them to files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import OutletLost
from edge_ad.files import write_bytes


def encode_image(image: NDArray[np.uint8], suffix: str, quality: int = 90) -> bytes:
    """Encode an image to the bytes of a file; `quality` applies to JPEG only."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in {".jpg", ".jpeg"} else []
    done, data = cv2.imencode(suffix, image, options)
    if not done:
        raise OutletLost(f"OpenCV cannot encode a {suffix} image of shape {image.shape}.")
    return bytes(data)


def write_image(path: Path, image: NDArray[np.uint8], quality: int = 90) -> None:
    """Write an image atomically; the suffix chooses the format."""
    write_bytes(path, encode_image(image, path.suffix, quality))
