"""Image files: the only room that lists, decodes and writes them.

Every verb reads through `read_image`, or an ImageReader where a folder's bit depth matters, so that
all of them see the same pixels of the same file. docs/reference/images.md has the rules as a table.
"""

from __future__ import annotations

from edge_ad.images.bit_depth import (
    BIT_DEPTHS,
    BitDepth,
    ImageReader,
    ReadImage,
    agreed_depth,
    current_depth,
    find_depth,
    read_image,
    reading,
    to_bgr8,
)
from edge_ad.images.container import motion_jpeg_damage
from edge_ad.images.decode import read_stored, upright_size
from edge_ad.images.listing import (
    FOLDER,
    NAMED,
    SUFFIXES,
    list_folder,
    list_images,
    named,
)
from edge_ad.images.scale import scaled
from edge_ad.images.write import encode_image, write_image

__all__ = [
    "BIT_DEPTHS",
    "FOLDER",
    "NAMED",
    "SUFFIXES",
    "BitDepth",
    "ImageReader",
    "ReadImage",
    "agreed_depth",
    "current_depth",
    "encode_image",
    "find_depth",
    "list_folder",
    "list_images",
    "motion_jpeg_damage",
    "named",
    "read_image",
    "read_stored",
    "reading",
    "scaled",
    "to_bgr8",
    "upright_size",
    "write_image",
]
