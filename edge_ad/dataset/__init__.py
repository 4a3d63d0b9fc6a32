"""Data sets: the normal images to learn from, and labelled images with masks to test with.

A folder's layout is recognised by its structure (`recognition`, one file a layout); all verbs read
images, labels and masks through this room and therefore use the same files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_ad.dataset.folders import (
    folders_below,
    folders_in,
    images_below,
    images_in,
    is_hidden,
    steps_to,
    unread_in,
)
from edge_ad.dataset.names import is_labelled, is_mask_folder
from edge_ad.dataset.recognition import LAYOUTS, recognise, require
from edge_ad.dataset.sample import NORMAL, Fault, LabelledSet, Listing, Sample
from edge_ad.dataset.truth import affected, list_faults, read_truth, truth_faults
from edge_ad.errors import DataError
from edge_ad.files import check_folder
from edge_ad.frame import Image
from edge_ad.images import NAMED, named, read_image
from edge_ad.wording import counted

__all__ = [
    "LAYOUTS",
    "NORMAL",
    "LabelledSet",
    "Sample",
    "images_below",
    "labelled_images",
    "left_out_below",
    "left_out_beside",
    "list_normal_images",
    "normal_images",
    "read_truth",
    "readable",
]
_log = logging.getLogger(__name__)
_NO_ROLE = "lies where the layout has no images, or is not in its table"


def normal_images(folder: Path) -> list[Path]:
    """List the normal training images of a data set, or those of a plain folder.

    Of a plain folder without images those of all folders below are listed: each part may have one.
    Masks are never among them. Raises DataError when there is no such folder or it holds no normal
    image, when folders below seem to hold others than normal images, or when masks that alone say
    which image is normal are missing. The log names the files left out.
    """
    images = list_normal_images(folder)
    if left_out := left_out_beside(images):
        _log.warning("%s: left out %s", folder, named(left_out))
    return images


def list_normal_images(folder: Path) -> list[Path]:
    """Return what `normal_images` does, without a word about files left out."""
    check_folder(folder, "images of good parts")
    known = recognise(folder)
    known_title = known.title if known else None
    listing = known.read(folder) if known else _flat(folder)
    if listing.masks_decide and listing.faults:
        raise DataError(
            f"{folder}: only masks say which image is normal ({known_title} layout), and "
            f"{len(listing.faults)} files do not pair. {list_faults(listing.faults)}. Add the "
            "missing ones or move these files away."
        )
    if not listing.train:
        raise DataError(_without_normal(folder, known_title))
    return list(listing.train)


def left_out_beside(images: Iterable[Path]) -> dict[str, str]:
    """Return the files in the folders of normal images that are not read, with the reason.

    They are no images, or lie in a folder below from which none is listed, through links or not.
    """
    left_out: dict[str, str] = {}
    places = sorted({path.parent for path in images})
    listed = {place.resolve() for place in places}
    for place in places:
        left_out |= {str(path): "not an image that OpenCV reads" for path in unread_in(place)}
        deeper = (path for path in _deeper(place) if path.parent.resolve() not in listed)
        left_out |= {str(path): f"in a folder below {place}" for path in deeper}
    return left_out


def labelled_images(
    folder: Path, layout: str | None = None, *, leave_out_bad_masks: bool = False
) -> LabelledSet:
    """List the test images of a data set, normal ones first, by type and name.

    Every mask is decoded and checked first: empty, inverted, of another size, without an image,
    missing where others of the type have one. Raises DataError that names them, or leaves the
    images out with `leave_out_bad_masks`. A type without any mask counts for image metrics only.
    """
    check_folder(folder, "labelled images")
    known = require(folder, layout)
    listing = known.read(folder)
    found = [*truth_faults(listing.samples), *listing.faults]
    faults = list({fault.path: fault for fault in found}.values())
    if faults and not leave_out_bad_masks:
        raise DataError(
            f"{folder}: the labels of {counted(len(faults), 'file')} cannot be used, so nothing "
            f"was measured. {list_faults(faults)}. Correct them, or leave these images out of all "
            "figures with --leave-out-bad-masks."
        )
    samples, left_out = _without(listing, faults)
    left_out |= {str(path): f"{path}: {_NO_ROLE}" for path in _without_role(folder, listing)}
    if not any(sample.kind == NORMAL for sample in samples):
        raise DataError(
            f"{folder}: no normal test images ({known.title} layout). Expected {known.tree}. Add "
            "some: metrics compare anomalous images with normal ones."
        )
    return LabelledSet(folder, known.name, known.title, samples, left_out, listing.notes)


def readable(
    paths: Iterable[Path], left_out: dict[str, str] | None = None
) -> Iterator[tuple[Path, Image]]:
    """Decode images one by one; unreadable ones are added to `left_out` with why.

    The first ten are logged, the others counted. Raises DataError when there were images and
    none can be read.
    """
    errors, readable_count = [], 0
    for path in paths:
        try:
            image = read_image(path)
        except DataError as error:
            errors.append(str(error))
            if len(errors) <= NAMED:
                _log.warning("left out: %s", error)
            if left_out is not None:
                left_out[str(path)] = str(error)
            continue
        readable_count += 1
        yield path, image
    if len(errors) > NAMED:
        _log.warning("left out: %d more, which cannot be read either", len(errors) - NAMED)
    if errors and not readable_count:
        raise DataError(f"none of the {len(errors)} images can be read. The first: {errors[0]}")


def _flat(folder: Path) -> Listing:
    """List a plain folder's images; where none lies in it, those of the folders below."""
    images = images_in(folder)
    if not images:
        _refuse_labelled(folder)
        images = images_below(folder)
    return Listing(train=tuple(images), left_out=tuple(unread_in(folder)))


def _refuse_labelled(folder: Path) -> None:
    """Raise DataError where folders below hold data sets, or a name says that not all are good.

    All of them would be taken for good parts.
    """
    for place in folders_below(folder):
        steps = steps_to(folder, place)
        if any(map(is_hidden, steps)) or not steps:
            continue
        if (known := recognise(place)) is not None:
            raise DataError(
                f"{folder}: not one folder of good parts, since {place} holds labelled images "
                f"({known.title} layout). Name that data set, or the folder of its good images."
            )
        if is_labelled(place.name):
            raise DataError(
                f"{folder}: not all images below it seem to show good parts, since there is a "
                f"folder {place.relative_to(folder)}. Name the folder of the good images, or call "
                "it good: then the others are not trained on."
            )


def _without_normal(folder: Path, title: str | None) -> str:
    if title:
        return f"{folder}: no normal training images in it ({title} layout), only test images."
    return f"{folder}: no images in it. Collect some with: edge-ad capture --camera 0 -o {folder}"


def _without_role(folder: Path, listing: Listing) -> list[Path]:
    """List the images below a data set's folder that its layout knows nothing of."""
    used = {path for sample in listing.samples for path in (sample.path, *sample.masks)}
    used |= {*listing.train, *listing.others, *listing.left_out}
    used |= {fault.path for fault in listing.faults}
    return [path for path in _all_below(folder) if path not in used]


def _all_below(folder: Path) -> Iterator[Path]:
    """Yield the images and masks below a folder, without those in hidden folders."""
    for place in folders_below(folder):
        if not any(name.startswith(".") for name in place.relative_to(folder).parts):
            yield from images_in(place)


def left_out_below(folder: Path) -> dict[str, str]:
    """Return the files in a folder and all below it that are not images, with the reason."""
    files = [path for place in folders_below(folder) for path in unread_in(place)]
    return {str(path): "not an image that OpenCV reads" for path in files}


def _deeper(place: Path) -> list[Path]:
    """List the images in the folders of a folder of which only direct images are read."""
    names = (deeper.name for deeper in folders_in(place))
    unread = [name for name in names if not (is_mask_folder(name) or is_hidden(name))]
    return [path for name in unread for path in images_below(place / name)]


def _without(listing: Listing, faults: list[Fault]) -> tuple[tuple[Sample, ...], dict[str, str]]:
    """Return the samples without those that have a fault, and every file left out with why."""
    bad = {sample.path for fault in faults if (sample := affected(fault.path, listing.samples))}
    left_out = {str(path): f"{path}: not an image OpenCV reads" for path in listing.left_out}
    left_out |= {str(fault.path): f"{fault.path}: {fault.reason}" for fault in faults}
    return tuple(sample for sample in listing.samples if sample.path not in bad), left_out
