"""Reading and writing of image files: the only place that decodes one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, OutletLost
from edge_ad.files import write_bytes
from edge_ad.frame import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})


def list_images(folder: Path) -> list[Path]:
    """List the images directly in `folder`, by name, without hidden files."""
    return sorted(_images_in(folder))


def _images_in(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def read_image(path: Path) -> Image:
    """Decode an image to uint8 (H, W, 3) BGR.

    Grey becomes three equal channels, alpha is dropped, 16 bits are reduced to their upper 8,
    regardless of the content. Raises DataError for a file that is missing, empty, truncated, or of
    a pixel type no camera delivers.
    """
    return to_bgr8(_decode(path), str(path))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Decode a ground-truth mask to bool (H, W): anomalous where its grey value exceeds 127."""
    return cv2.cvtColor(read_image(path), cv2.COLOR_BGR2GRAY) > 127


def to_bgr8(image: NDArray[np.generic], name: str) -> Image:
    """Convert an array of any camera pixel type to uint8 (H, W, 3) BGR."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)  # type: ignore[operator]
    if image.dtype != np.uint8:
        raise DataError(
            f"{name}: pixels are {image.dtype}, expected uint8 or uint16. Convert the image."
        )
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)  # type: ignore[arg-type]
    return np.ascontiguousarray(image[:, :, :3], np.uint8)


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


def _decode(path: Path) -> NDArray[np.generic]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    if not data:
        raise DataError(f"{path}: the file is empty. Copy it again or remove it.")
    if _is_truncated(data):
        raise DataError(f"{path}: the image is truncated. Copy it again.")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DataError(f"{path}: not an image OpenCV can decode ({error.err}).") from error
    if image is None:
        raise DataError(f"{path}: not an image OpenCV can decode.")
    return image


def _is_truncated(data: bytes) -> bool:
    """Return whether the end of a JPEG or PNG is missing; OpenCV would fill it with grey."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-1024:]  # some cameras pad or append after the end marker
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-1024:]
    return False
