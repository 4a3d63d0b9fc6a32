from __future__ import annotations

import numpy as np
import pytest

from edge_ad.images import scaled


@pytest.mark.parametrize(
    ("hw", "scale", "expected"),
    [((40, 60), 0.5, (20, 30)), ((10, 7), 3.0, (30, 21)), ((16, 8000), 0.02, (1, 160)),
     ((9000, 1), 0.01, (90, 1))],
)  # fmt: skip
def test_an_image_keeps_a_pixel_of_each_side(
    hw: tuple[int, int], scale: float, expected: tuple[int, int]
) -> None:
    image = np.full((*hw, 3), 77, np.uint8)
    small = scaled(image, scale)
    assert small.shape == (*expected, 3) and (small == 77).all()
    assert scaled(image[..., 0], scale).shape == expected
