"""KolektorSDD's layout: Part0.jpg beside Part0_label.bmp, in one folder or in kos01, kos02 ..."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_ad.dataset.beside import has_masks_beside, list_beside
from edge_ad.dataset.folders import folders_in
from edge_ad.dataset.layout import Layout
from edge_ad.dataset.sample import NORMAL, Listing

NO_SPLIT = (
    "the layout does not separate training from test images: train takes the normal images, and "
    "figures on them are optimistic"
)


def _places(folder: Path) -> list[Path]:
    return [place for place in (folder, *folders_in(folder)) if has_masks_beside(place)]


def _read(folder: Path) -> Listing:
    listing = list_beside(_places(folder))
    normal = tuple(sample.path for sample in listing.samples if sample.kind == NORMAL)
    return replace(listing, train=normal, notes=(NO_SPLIT,))


KOLEKTOR_SDD = Layout(
    name="kolektor",
    title="KolektorSDD",
    tree="[kos01/]Part0.jpg, [kos01/]Part0_label.bmp (all zero for a normal image)",
    matches=lambda folder: bool(_places(folder)),
    read=_read,
    aliases=("kolektorsdd", "ksdd"),
)
