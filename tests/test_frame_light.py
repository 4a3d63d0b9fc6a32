"""Brightness and sharpness of a frame, from a sample of its pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_ad.frame import from_grey
from edge_ad.frame_light import has_colour, light_of
from edge_ad.preprocess import subsample


@pytest.mark.parametrize("size_hw", [(480, 640), (97, 131), (8, 8)])
@pytest.mark.parametrize("step", [4, 8])
def test_a_subsample_holds_the_first_pixel_of_every_whole_block(
    size_hw: tuple[int, int], step: int
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    height, width = (side // step for side in size_hw)
    expected = image[::step, ::step][:height, :width]
    np.testing.assert_array_equal(subsample(image, step), expected)


def test_light_is_the_mean_and_the_variance_of_the_laplacian_of_the_sample() -> None:
    image = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    grey = cv2.cvtColor(np.ascontiguousarray(image[::4, ::4]), cv2.COLOR_BGR2GRAY)
    light = light_of(image)
    assert light.brightness == pytest.approx(grey.mean(), rel=1e-12)
    assert light.sharpness == pytest.approx(cv2.Laplacian(grey, cv2.CV_64F).var(), rel=1e-9)
    plane = image[:, :, 0]
    copied = np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2BGR), np.uint8)
    assert light_of(from_grey(plane)) == light_of(copied)


def test_only_a_clear_difference_between_channels_is_colour() -> None:
    grey = np.repeat(np.random.default_rng(2).integers(0, 240, (64, 64, 1), np.uint8), 3, axis=2)
    assert not has_colour(grey) and not has_colour(from_grey(grey[:, :, 0]))
    tinted = grey.copy()
    tinted[..., 2] += np.random.default_rng(3).integers(0, 4, (64, 64), np.uint8)
    assert not has_colour(tinted)
    for channel in range(3):
        marked = grey.copy()
        marked[8:16, 8:16, channel] += 12
        assert has_colour(marked)


def test_an_even_frame_has_no_sharpness() -> None:
    assert light_of(np.full((64, 64, 3), 90, np.uint8)) == (90.0, 0.0)
