"""KolektorSDD2's layout: train and test, each with 10000.png beside 10000_GT.png."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_ad.dataset.beside import has_masks_beside, list_beside
from edge_ad.dataset.folders import child
from edge_ad.dataset.layout import Layout
from edge_ad.dataset.sample import NORMAL, Listing


def _part(folder: Path, name: str) -> Listing:
    place = child(folder, name)
    return list_beside([place] if place else [])


def _read(folder: Path) -> Listing:
    train, test = _part(folder, "train"), _part(folder, "test")
    normal = tuple(sample.path for sample in train.samples if sample.kind == NORMAL)
    others = tuple(path for sample in train.samples for path in (sample.path, *sample.masks))
    return replace(test, train=normal, faults=(*train.faults, *test.faults), others=others)


KOLEKTOR_SDD2 = Layout(
    name="ksdd2",
    title="KolektorSDD2",
    tree="train/10000.png, train/10000_GT.png, test/20000.png, test/20000_GT.png (all zero for a "
    "normal image)",
    matches=lambda f: any(has_masks_beside(child(f, name)) for name in ("train", "test")),
    read=_read,
    aliases=("kolektorsdd2", "kolektor2"),
)
