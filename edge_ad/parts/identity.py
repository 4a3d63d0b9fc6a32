"""Recognise an image again: under another name, or saved again without loss."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from edge_ad.files import sha256
from edge_ad.frame import Image
from edge_ad.images import read_image


class ImageId(NamedTuple):
    """Hex digests (SHA-256) of an image file and of its decoded pixels.

    The file's digest is the same on every machine; that of the pixels survives other metadata and
    another lossless format. Two images are the same when either agrees: see `ImageSet.has_image`.
    """

    file: str
    pixels: str


def identify(path: Path, image: Image | None = None) -> ImageId:
    """Return the identity of an image file; `image`, if given, is its decoded content.

    Raises DataError for a file that cannot be read.
    """
    pixels = read_image(path) if image is None else image
    return ImageId(sha256(path), pixels_sha256(pixels))


def pixels_sha256(image: Image) -> str:
    """Return the hex digest of an image uint8 (H, W, 3), its shape included."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
