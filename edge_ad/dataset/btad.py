"""BTAD's layout: ok and ko instead of good and defect types."""

from __future__ import annotations

from pathlib import Path

from edge_ad.dataset.by_type import has_test_folders, read_test_folders, type_folders
from edge_ad.dataset.layout import Layout


def _matches(folder: Path) -> bool:
    return has_test_folders(folder) and "ko" in {p.name.lower() for p in type_folders(folder)}


BTAD = Layout(
    name="btad",
    title="BTAD",
    tree="train/ok/*.bmp, test/ok/*.bmp, test/ko/*.bmp, ground_truth/ko/<image>.png",
    matches=_matches,
    read=read_test_folders,
)
