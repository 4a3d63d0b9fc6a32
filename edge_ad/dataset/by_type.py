"""Folders of images by type: what MVTec AD's family and plain folders have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edge_ad.dataset.folders import (
    Pairs,
    child,
    folders_in,
    images_below,
    images_in,
    mask_folder,
    masks_in,
    pair,
    split_masks,
    unread_in,
)
from edge_ad.dataset.names import is_normal
from edge_ad.dataset.sample import NORMAL, Fault, Listing, Sample


def has_test_folders(folder: Path) -> bool:
    """Return whether `folder` has test/<type>, or train/<normal> alone."""
    test, train = child(folder, "test"), child(folder, "train")
    return bool(test and folders_in(test)) or bool(train and normal_folders(train))


def normal_folders(folder: Path | None) -> list[Path]:
    """List the folders in `folder` that hold normal images."""
    return [place for place in folders_in(folder) if is_normal(place.name)] if folder else []


def type_folders(folder: Path) -> list[Path]:
    """List the folders of test images by type."""
    test = child(folder, "test")
    return folders_in(test) if test else []


def read_test_folders(folder: Path) -> Listing:
    """List train/<normal>, test/<type> and ground_truth/<type>."""
    test = child(folder, "test")
    listing = list_types(type_folders(folder), mask_folder(folder))
    return Listing(
        train=images_of(normal_folders(child(folder, "train"))),
        samples=listing.samples,
        faults=listing.faults,
        left_out=(*listing.left_out, *images_in(test), *unread_in(test)),
    )


def images_of(places: Sequence[Path]) -> tuple[Path, ...]:
    """List the images of several folders, without the masks beside them.

    Of a folder without images those of the folders below are listed: each part may have one.
    """
    direct = [split_masks(images_in(place))[0] or images_below(place) for place in places]
    return tuple(path for images in direct for path in images)


def list_types(places: Sequence[Path], masks: Path | None) -> Listing:
    """List images by type; masks lie beside them, in `masks/<type>`, or in `masks` for all types.

    An image may have a folder of masks: `masks/<type>/<image>/*.png`.
    """
    listings = [_list_type(place, masks) for place in places]
    samples = [sample for listing in listings for sample in listing.samples]
    faults = [fault for listing in listings for fault in listing.faults]
    samples, unpaired = _with_common_masks(samples, _common_masks(places, masks))
    return Listing(
        samples=tuple(sorted(samples, key=lambda s: (s.anomalous, s.kind, s.path))),
        faults=(*faults, *unpaired, *unmasked(samples)),
        left_out=tuple(path for listing in listings for path in listing.left_out),
    )


def _list_type(place: Path, masks: Path | None) -> Listing:
    images, beside = split_masks(images_in(place))
    apart = masks_in(child(masks, place.name.lower())) if masks else []
    pairs = pair(images, [*apart, *((path.stem, path) for path in beside)])
    kind = NORMAL if is_normal(place.name) else place.name
    return Listing(
        samples=tuple(Sample(path, kind, pairs.masks.get(path, ())) for path in images),
        faults=pairs.faults,
        left_out=tuple(unread_in(place)),
    )


def _common_masks(places: Sequence[Path], masks: Path | None) -> list[tuple[str, Path]]:
    """List the masks that lie in no type's folder."""
    if masks is None:
        return []
    types = {place.name.lower() for place in places}
    apart = [place for place in folders_in(masks) if place.name.lower() not in types]
    nested = [(place.name, path) for place in apart for path in images_in(place)]
    return [*((path.stem, path) for path in images_in(masks)), *nested]


def _with_common_masks(
    samples: list[Sample], masks: list[tuple[str, Path]]
) -> tuple[list[Sample], tuple[Fault, ...]]:
    """Pair masks with anomalous images, then those that are left with normal ones."""
    anomalous = pair([sample.path for sample in samples if sample.anomalous], masks)
    paired = {mask for files in anomalous.masks.values() for mask in files}
    doubtful = {fault.path for fault in anomalous.faults if "several" in fault.reason}
    rest = [(stem, mask) for stem, mask in masks if mask not in paired | doubtful]
    normal = pair([sample.path for sample in samples if not sample.anomalous], rest)
    both = Pairs({**anomalous.masks, **normal.masks}, normal.faults)
    faults = (*(fault for fault in anomalous.faults if fault.path in doubtful), *both.faults)
    return [_joined(sample, both.masks.get(sample.path, ())) for sample in samples], faults


def _joined(sample: Sample, masks: tuple[Path, ...]) -> Sample:
    return Sample(sample.path, sample.kind, (*sample.masks, *masks))


def unmasked(samples: Sequence[Sample]) -> list[Fault]:
    """Return the anomalous images without a mask where others of their type have one."""
    masked = Counter(sample.kind for sample in samples if sample.masks)
    return [
        Fault(s.path, f"no mask, though {masked[s.kind]} images of '{s.kind}' have one")
        for s in samples
        if s.anomalous and not s.masks and masked[s.kind]
    ]
