"""Read images once to find the parts they show."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_ad.dedup import Deduplicator
from edge_ad.errors import DataError, UsageError
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.images import read_image
from edge_ad.images.bit_depth import ReadImage
from edge_ad.parts.looks import Grouping, Looks, scale_for

_log = logging.getLogger(__name__)
_MANY, _PER_S = 3000, 50  # images whose comparison is announced; images a second on two cores
_SLOW = (
    "comparing %d images to find which show the same part, which takes about %d min. Names, "
    "parts.csv and --part-id take none of that, nor does --parts-from each."
)
_SIZES_FROM = 15  # images, evenly spread, whose sizes decide the scale


@dataclass(frozen=True, slots=True)
class Looked:
    """Readable images with their grouping, in the same order; the others with the reason."""

    paths: list[Path]
    grouping: Grouping
    left_out: dict[Path, str]


def look(
    images: Sequence[Path],
    named: Mapping[Path, str],
    geometry: Geometry | None = None,
    read: ReadImage = read_image,
) -> Looked:
    """Group images by what they show; those of one `named` part and near-duplicates stay together.

    Raises DataError when no image can be read, UsageError for a region outside an image.
    """
    if len(images) >= _MANY:
        _log.warning(_SLOW, len(images), -(-len(images) // (_PER_S * 60)))
    left_out: dict[Path, str] = {}
    looks = Looks(_scale(images, geometry, read), len(images))
    distinct = Deduplicator(Geometry())
    paths, known, firsts = list[Path](), list[tuple[int, int]](), list[int]()
    first_of: dict[str, int] = {}
    for path, image in _regions(images, geometry, read, left_out):
        index = len(paths)
        looks.add(image)
        twin = distinct.repeats(image)
        if twin is None:
            firsts.append(index)
        else:
            known.append((firsts[twin], index))
        if path in named:
            known.append((first_of.setdefault(named[path], index), index))
        paths.append(path)
    return Looked(paths, looks.group(known), left_out)


def _scale(images: Sequence[Path], geometry: Geometry | None, read: ReadImage) -> float:
    """Return the scale for the region of usual images, from a few, evenly spread."""
    left_out: dict[Path, str] = {}
    sample = images[:: max(1, len(images) // _SIZES_FROM)]
    for some in (sample, images):  # all of them only where none of the sample can be read
        if sizes := [image.shape[:2] for _, image in _regions(some, geometry, read, left_out)]:
            return scale_for(sizes)
    first = next(iter(left_out.values()), "there is none")
    raise DataError(f"none of the {len(images)} images can be read. The first: {first}")


def _regions(
    images: Iterable[Path],
    geometry: Geometry | None,
    read: ReadImage,
    left_out: dict[Path, str],
) -> Iterator[tuple[Path, Image]]:
    """Decode the regions of interest; an image that cannot be read goes to `left_out`."""
    for path in images:
        try:
            image = read(path)
        except DataError as error:
            left_out[path] = str(error)
            continue
        yield path, _region(path, image, geometry)


def _region(path: Path, image: Image, geometry: Geometry | None) -> Image:
    if geometry is None or geometry.roi_xywh is None:
        return image
    x, y, width, height = geometry.roi_xywh
    if x + width > image.shape[1] or y + height > image.shape[0]:
        raise UsageError(
            f"{path}: the region of interest {x},{y},{width},{height} does not fit an image of "
            f"{image.shape[1]}x{image.shape[0]} pixels. Change --roi."
        )
    return np.ascontiguousarray(image[y : y + height, x : x + width])
