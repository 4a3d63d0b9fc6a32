"""Whether images of a deep sensor keep their detail in the 8 bits that networks take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_ad.errors import DataError
from edge_ad.images.bit_depth import BitDepth, ImageReader
from edge_ad.quantiles import median

_SAMPLE = 15  # images, evenly spread
_FEWEST = 16  # grey levels of 256: of 12 bits that are used in full, 16-bit values leave as many
_MOST_PIXELS = (0.5, 99.5)  # percentiles: a hot pixel is no detail


def warning_of_levels(paths: Sequence[Path], depth: BitDepth) -> str:
    """Return a warning where images deeper than 8 bits keep few grey levels; else an empty string.

    Images of a thermal camera are so: 16 bits for all temperatures, of which a part shows a few.
    """
    if depth.bits <= 8:
        return ""
    levels = [_levels(path, depth) for path in paths[:: max(1, len(paths) // _SAMPLE)]]
    known = [count for count in levels if count]
    if not known or (typical := median(known)) >= _FEWEST:
        return ""
    return (
        f"most pixels of an image keep {typical:.0f} of 256 grey levels, since {depth} become 8, "
        "and finer differences are lost. If the sensor fills fewer bits, name them with "
        "--bit-depth; else give images of 8 bits, all stretched from the same range of values, "
        "here and on the line."
    )


def _levels(path: Path, depth: BitDepth) -> int:
    """Return how many grey levels most pixels lie within; 0 for an image that cannot be read."""
    try:
        darkest, brightest = np.percentile(ImageReader(depth)(path), _MOST_PIXELS)
    except DataError:
        return 0
    return int(brightest - darkest) + 1
