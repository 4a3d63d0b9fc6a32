"""Plain folders: normal images in good, ok or normal, anomalous ones in others, masks in masks."""

from __future__ import annotations

from pathlib import Path

from edge_ad.dataset.by_type import images_of, list_types, normal_folders
from edge_ad.dataset.folders import folders_in, images_in, mask_folder, unread_in
from edge_ad.dataset.kolektor_sdd import NO_SPLIT
from edge_ad.dataset.layout import Layout
from edge_ad.dataset.names import is_mask_folder
from edge_ad.dataset.sample import Listing


def _read(folder: Path) -> Listing:
    places = [place for place in folders_in(folder) if not is_mask_folder(place.name)]
    listing = list_types(places, mask_folder(folder))
    return Listing(
        train=images_of(normal_folders(folder)),
        samples=listing.samples,
        faults=listing.faults,
        left_out=(*listing.left_out, *images_in(folder), *unread_in(folder)),
        notes=(NO_SPLIT,),
    )


PLAIN = Layout(
    name="plain",
    title="Plain folders",
    tree="normal/*.png (or good, ok), <type>/*.png, masks/[<type>/]<image>[_mask].png (or "
    "ground_truth, labels)",
    matches=lambda folder: bool(normal_folders(folder)),
    read=_read,
    aliases=("folders",),
)
