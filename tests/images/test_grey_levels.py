"""Images of deep sensors that keep few grey levels in 8 bits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.images import BitDepth, find_depth, list_images
from edge_ad.images.grey_levels import warning_of_levels


def write_values(folder: Path, least: int, greatest: int) -> list[Path]:
    """Write three images uint16 with one hot pixel, the others between these values."""
    rng = np.random.default_rng(0)
    for number in range(3):
        values = rng.integers(least, greatest + 1, (40, 60)).astype(np.uint16)
        values[0, 0] = 65535
        assert cv2.imwrite(str(folder / f"{number}.png"), values)
    return list_images(folder)


@pytest.mark.parametrize(
    ("least", "greatest", "levels"),
    [(29440, 30463, 4), (0, 3000, 12), (0, 65535, None), (20000, 30000, None)],
)
def test_images_with_few_grey_levels_are_warned_about(
    tmp_path: Path, least: int, greatest: int, levels: int | None
) -> None:
    paths = write_values(tmp_path, least, greatest)
    warning = warning_of_levels(paths, find_depth(paths))
    assert warning.startswith(f"most pixels of an image keep {levels} of 256") == bool(levels)
    assert bool(warning) == bool(levels)


def test_dark_images_of_eight_bits_and_unreadable_ones_are_not(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "dark.png"), np.full((20, 20), 9, np.uint8))
    (tmp_path / "cut.png").write_bytes(b"")
    paths = list_images(tmp_path)
    assert warning_of_levels(paths, find_depth(paths)) == ""
    assert warning_of_levels(paths[:1], BitDepth(12)) == ""
