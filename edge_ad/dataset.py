"""Data sets in MVTec AD's layout, or plain folders of normal images.

DATA/train/good/*.png                     normal training images
DATA/test/good/*.png                      normal test images
DATA/test/<type>/<name>.png               anomalous test images of one defect type
DATA/ground_truth/<type>/<name>_mask.png  their masks
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_ad.errors import DataError
from edge_ad.frame import Image
from edge_ad.images import list_images, read_image

NORMAL = "good"  # MVTec AD's folder name
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled test image; `kind` is `good` or the defect type, `mask` its ground truth."""

    path: Path
    kind: str
    mask: Path | None = None

    @property
    def anomalous(self) -> bool:
        return self.kind != NORMAL


def normal_images(folder: Path) -> list[Path]:
    """List the normal images in `folder/train/good`, `folder/good` or `folder` itself.

    Raises DataError when there is no such folder or it holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Expected images of good parts there.")
    places = [folder / "train" / NORMAL, folder / NORMAL, folder]
    place = next(place for place in places if place.is_dir())
    images = list_images(place)
    if not images:
        raise DataError(
            f"{place}: no images in it. Collect some with: edge-ad capture --camera 0 -o {place}"
        )
    return images


def labelled_images(folder: Path) -> list[Sample]:
    """List the test images of a folder in MVTec AD's layout, normal ones first, by type and name.

    Raises DataError when the layout differs, a mask has no image, or some images of a
    type have masks and others none. A type without any mask counts for image metrics only.
    """
    test = folder / "test"
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Expected labelled images there.")
    if not test.is_dir():
        raise DataError(
            f"{folder}: no folder 'test' in it. Expected MVTec AD's layout: test/good, "
            "test/<type>, ground_truth/<type>/<name>_mask.png"
        )
    kinds = sorted(_kinds(test) | _kinds(folder / "ground_truth"), key=lambda k: (k != NORMAL, k))
    samples = [sample for kind in kinds for sample in _of_kind(folder, kind)]
    if not any(sample.kind == NORMAL for sample in samples):
        raise DataError(
            f"{test}/good: no normal images. Add some: metrics compare anomalous with normal ones."
        )
    return samples


def readable(paths: Iterable[Path]) -> Iterator[tuple[Path, Image]]:
    """Decode images one by one; unreadable ones are logged and left out.

    Raises DataError when there were images and none can be read.
    """
    errors, readable_count = [], 0
    for path in paths:
        try:
            image = read_image(path)
        except DataError as error:
            errors.append(str(error))
            _log.warning("left out: %s", error)
            continue
        readable_count += 1
        yield path, image
    if errors and not readable_count:
        raise DataError(f"none of the {len(errors)} images can be read. The first: {errors[0]}")


def _of_kind(folder: Path, kind: str) -> list[Sample]:
    place = folder / "test" / kind
    images = list_images(place) if place.is_dir() else []
    if kind == NORMAL:
        return [Sample(path, NORMAL) for path in images]
    masks = _masks(folder / "ground_truth" / kind)
    _check_pairs(folder, kind, {path.stem for path in images}, set(masks))
    return [Sample(path, kind, masks.get(path.stem)) for path in images]


def _kinds(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()


def _masks(folder: Path) -> dict[str, Path]:
    paths = list_images(folder) if folder.is_dir() else []
    return {path.stem.removesuffix("_mask"): path for path in paths}


def _check_pairs(folder: Path, kind: str, images: set[str], masks: set[str]) -> None:
    if orphans := sorted(masks - images):
        raise DataError(
            f"{folder}/ground_truth/{kind}: {len(orphans)} of {len(masks)} masks have no image "
            f"in test/{kind}; the first is '{orphans[0]}'. Remove these masks or add "
            "the images."
        )
    if masks and (unmasked := sorted(images - masks)):
        raise DataError(
            f"{folder}/test/{kind}: {len(unmasked)} of {len(images)} images have no mask in "
            f"ground_truth/{kind}; the first is '{unmasked[0]}'. Add '{unmasked[0]}_mask.png', or "
            "remove all masks of this type."
        )
