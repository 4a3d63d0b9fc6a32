"""Decode an image file to upright pixels of the type it stores."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images.container import Container, check_container

_DECODED_IN_MEMORY = frozenset("AVIF BMP DIB GIF JPEG JPEG2000 MPO PNG PPM SUN TIFF WEBP".split())
_SIZE_IN_HEADER = frozenset({"BMP", "JPEG", "PNG"})


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Pixels as a file stores them, upright: (H, W) or (H, W, channels), BGR or BGRA.

    `bit_depth` is the depth that the file names for its 16-bit values, None when it does not.
    `transparent` is true when alpha hides some pixels.
    """

    pixels: NDArray[Any]
    name: str
    bit_depth: int | None = None
    transparent: bool = False

    def opaque(self) -> NDArray[Any]:
        """Return (H, W) or BGR pixels. Raises DataError when alpha hides some of them."""
        if self.transparent:
            raise DataError(
                f"{self.name}: some pixels are transparent, so their colour is undefined. "
                "Save the image without alpha, over the background that the camera shows."
            )
        return self.pixels[:, :, :3] if self.pixels.ndim == 3 else self.pixels


def read_stored(path: Path) -> StoredImage:
    """Decode a file that is complete. Raises DataError, with its name, for any other."""
    data, name = _bytes_of(path), str(path)
    return _stored(data, name, check_container(data, name))


def _stored(data: bytes, name: str, container: Container) -> StoredImage:
    try:
        pixels = _decode(data, in_memory=container.format in _DECODED_IN_MEMORY)
    except cv2.error as error:
        raise DataError(f"{name}: not an image OpenCV can decode ({error.err}).") from error
    except OSError as error:
        raise DataError(
            f"{name}: OpenCV decodes it from a copy, which cannot be written ({error})."
        ) from error
    if pixels is None:
        kind = f" ({container.format})" if container.format else ""
        raise DataError(f"{name}: not an image OpenCV can decode{kind}.")
    transparent = container.transparent or _hides(pixels, container)
    upright = _upright(pixels, container.orientation)
    return StoredImage(upright, name, _named_depth(pixels, container), transparent)


def upright_size(path: Path) -> tuple[int, int]:
    """Return height and width of an upright image, from its header in the usual formats.

    Raises DataError for what is truncated or damaged as `read_stored` does, where that shows
    without decoding.
    """
    data, name = _bytes_of(path), str(path)
    container = check_container(data, name)
    if container.format in _SIZE_IN_HEADER and container.size_hw:
        height, width = container.size_hw
        return (width, height) if container.orientation >= 5 else (height, width)
    pixels = _stored(data, name, container).pixels
    return pixels.shape[0], pixels.shape[1]


def _decode(data: bytes, *, in_memory: bool) -> NDArray[Any] | None:
    """Decode to the stored pixels; None for what is no image.

    Decoders of HDR and OpenEXR read files only. OpenCV would write one into the system's temporary
    folder, and leave it there when their header is wrong.
    """
    if in_memory:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    with TemporaryDirectory(prefix="edge-ad-") as folder:
        copy = Path(folder) / "image"
        copy.write_bytes(data)
        return cv2.imread(str(copy), cv2.IMREAD_UNCHANGED)


def _bytes_of(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # reading might never end
            raise DataError(f"{path}: not a file. Expected an image.")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    if not data:
        raise DataError(f"{path}: the file is empty. Copy it again or remove it.")
    return data


def _named_depth(pixels: NDArray[Any], container: Container) -> int | None:
    """Return the depth that the file names, 16 for a PNG that spreads it over all its bits.

    PNG wants values scaled to 16 bits and the sensor's depth noted in sBIT (PNG 3, 11.3.2.4).
    Cameras' software often notes it and stores the values as they are.
    """
    bits = container.bit_depth
    spread = container.format == "PNG" and bits is not None and int(pixels.max()) >= 1 << bits
    return 16 if spread else bits


def _hides(pixels: NDArray[Any], container: Container) -> bool:
    """Return whether a fourth channel is alpha that is not opaque everywhere.

    Pillow reduces alpha of 16 bits to 8, so this looks at the values themselves.
    """
    if container.has_alpha is False or pixels.ndim != 3 or pixels.shape[2] != 4:
        return False
    full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    if pixels.dtype == np.uint16 and container.bit_depth:
        full = (1 << container.bit_depth) - 1
    return bool(pixels[:, :, 3].min() < full)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn pixels as EXIF's orientation asks (EXIF 2.32, table 6)."""
    if orientation >= 5:  # 5 to 8 have rows and columns exchanged
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
