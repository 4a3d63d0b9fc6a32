"""MVTec LOCO's layout: logical and structural anomalies, a folder of masks for each image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_ad.dataset.by_type import (
    has_test_folders,
    images_of,
    normal_folders,
    read_test_folders,
    type_folders,
)
from edge_ad.dataset.folders import child
from edge_ad.dataset.layout import Layout
from edge_ad.dataset.sample import Listing

_TYPES = frozenset({"logical_anomalies", "structural_anomalies"})


def _read(folder: Path) -> Listing:
    validation = images_of(normal_folders(child(folder, "validation")))
    return replace(read_test_folders(folder), others=validation)


def _matches(folder: Path) -> bool:
    names = {place.name.lower() for place in type_folders(folder)}
    return has_test_folders(folder) and bool(names & _TYPES)


MVTEC_LOCO = Layout(
    name="loco",
    title="MVTec LOCO",
    tree="train/good/*.png, test/good/*.png, test/logical_anomalies/*.png, "
    "test/structural_anomalies/*.png, ground_truth/<type>/<image>/*.png",
    matches=_matches,
    read=_read,
    aliases=("mvtec-loco",),
)
