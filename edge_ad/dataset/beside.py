"""Masks beside their images, one for every image: an empty mask means a normal image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_ad.dataset.folders import images_in, pair, split_masks, unread_in
from edge_ad.dataset.mask import mask_fault, read_mask, reason_of
from edge_ad.dataset.names import masked_image
from edge_ad.dataset.sample import NORMAL, Fault, Listing, Sample
from edge_ad.errors import DataError

DEFECT = "defect"


def has_masks_beside(folder: Path | None) -> bool:
    """Return whether a mask lies beside an image directly in `folder`."""
    return bool(split_masks(images_in(folder))[1])


def list_beside(places: Sequence[Path]) -> Listing:
    """List the images of folders; their masks are decoded to know which are normal."""
    listings = [_list_place(place) for place in places]
    samples = [sample for listing in listings for sample in listing.samples]
    return Listing(
        samples=tuple(sorted(samples, key=lambda s: (s.anomalous, s.kind, s.path))),
        faults=tuple(fault for listing in listings for fault in listing.faults),
        left_out=tuple(path for listing in listings for path in listing.left_out),
        masks_decide=True,
    )


def _list_place(place: Path) -> Listing:
    images, masks = split_masks(images_in(place))
    pairs = pair(images, [(path.stem, path) for path in masks])
    missing = [path for path in images if path not in pairs.masks]
    samples = [_sample(path, pairs.masks.get(path, ())) for path in images]
    return Listing(
        samples=tuple(sample for sample, _ in samples),
        faults=(
            *pairs.faults,
            *(Fault(path, _missing(path)) for path in missing),
            *(fault for _, fault in samples if fault),
        ),
        left_out=tuple(unread_in(place)),
    )


def _missing(path: Path) -> str:
    """Return why a file without a mask cannot be labelled."""
    if masked_image(path.stem):
        return "a mask without an image"
    return "no mask, though other images have one: an empty mask says that an image is normal"


def _sample(path: Path, masks: tuple[Path, ...]) -> tuple[Sample, Fault | None]:
    """Label an image by its masks; also return the mask that cannot say what it is."""
    marked = not masks
    for mask in masks:
        try:
            marks = read_mask(mask)
        except DataError as error:
            return Sample(path, DEFECT, masks), Fault(mask, reason_of(error, mask))
        if marks.any() and (reason := mask_fault(marks)):
            return Sample(path, DEFECT, masks), Fault(mask, reason)
        marked = marked or bool(marks.any())
    return Sample(path, DEFECT if marked else NORMAL, masks), None
