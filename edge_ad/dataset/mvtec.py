"""MVTec AD's layout, which MPDD and converted sets share."""

from __future__ import annotations

from edge_ad.dataset.by_type import has_test_folders, read_test_folders
from edge_ad.dataset.layout import Layout

MVTEC = Layout(
    name="mvtec",
    title="MVTec AD",
    tree="train/good/*.png, test/good/*.png, test/<type>/*.png, "
    "ground_truth/<type>/<image>_mask.png",
    matches=has_test_folders,
    read=read_test_folders,
    aliases=("mpdd", "mvtec-ad"),
)
