"""The network's input size: the area that was asked for, in the ratio of the parts.

Squashed to a square, a part 2.5 times as long as high lost 0.09 of image AUROC, with half of its
pixel AP, against the same training at 208x80.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from edge_ad.errors import DataError, UsageError, naming
from edge_ad.geometry import Geometry
from edge_ad.images import read_image
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.method import Config, load_method
from edge_ad.preprocess import Preprocess

NEARLY_SQUARE = 1.25  # ratios up to this stay square
SMALLEST, LARGEST = 32, 2048
_MULTIPLES = (16, 32, 64, 128)  # methods halve their input up to seven times
_LOOKED_AT = 15  # images, evenly spread


def fitted_size(side: int, ratio: float, multiple: int) -> SizeHW:
    """Return the height and width nearest to an area of side^2 and to a ratio of height to width.

    Both are multiples of `multiple`; a ratio near 1 gives (side, side).
    """
    if max(ratio, 1 / ratio) <= NEARLY_SQUARE:
        return side, side
    sizes = [(height, width) for height in _near(side * math.sqrt(ratio), multiple)
             for width in _near(side / math.sqrt(ratio), multiple)]  # fmt: skip

    def error(size: SizeHW) -> float:
        height, width = size
        return abs(math.log(height / width / ratio)) + abs(math.log(height * width / side**2))

    return min(sizes, key=error)


def size_for(method: str, network: Config, side: int, ratio: float) -> SizeHW:
    """Return the fitted size in the smallest multiples that the method's network takes."""
    build = load_method(method).build
    for multiple in _MULTIPLES:
        size = fitted_size(side, ratio, multiple)
        try:
            with torch.device("meta"):
                build(network, size)
        except UsageError:
            continue
        return size
    return side, side  # building it names what the method takes


def sizes_of(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return width and height of a sample of the images, less those that cannot be read."""
    sizes = {}
    for path in paths[:: max(1, len(paths) // _LOOKED_AT)]:
        try:
            height, width = read_image(path).shape[:2]
        except DataError:  # named when all images are read
            continue
        sizes[path] = (width, height)
    return sizes


def common_size(sizes: Mapping[Path, tuple[int, int]]) -> tuple[int, int] | None:
    """Return the size that most have, None of no image."""
    counts = Counter(sizes.values()).most_common(1)
    return counts[0][0] if counts else None


def ratio_of_parts(sizes: Mapping[Path, tuple[int, int]], geometry: Geometry) -> float:
    """Return the median ratio of height to width of what the network sees of an image: a tile.

    1.0 of no image. Raises UsageError when the geometry does not fit one.
    """
    ratios = []
    for path, (width, height) in sizes.items():
        with naming(path):
            tile_h, tile_w = Preprocess((32, 32), geometry).tile_hw((height, width))
        ratios.append(tile_h / tile_w)
    return median(ratios) if ratios else 1.0


def _near(side: float, multiple: int) -> list[int]:
    """Return the multiples below and above a side, within the sizes that networks may have."""
    least = math.ceil(SMALLEST / multiple) * multiple
    around = (math.floor(side / multiple) * multiple, math.ceil(side / multiple) * multiple)
    return sorted({min(LARGEST, max(least, value)) for value in around})
