from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.frame import Frame, from_grey
from edge_ad.frame_gate import FrameGate

NOISE: NDArray[np.uint8] = (
    np.random.default_rng(0).integers(10, 240, (120, 160, 3)).astype(np.uint8)
)


def frame(image: NDArray[np.uint8], *, age_s: float = 0.0, file: str = "") -> Frame:
    return Frame(image, 0, time.monotonic() - age_s, "cam", file)


def torn(fill: int) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = NOISE.copy()
    image[70:] = fill
    return image


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        pytest.param(NOISE, "", id="a textured image is fine"),
        pytest.param(NOISE // 20, "", id="a dim image is still an image"),
        pytest.param(np.zeros_like(NOISE), "black", id="black"),
        pytest.param(NOISE // 100, "black", id="sensor noise behind a covered lens"),
        pytest.param(np.full_like(NOISE, 255), "saturated", id="white"),
        pytest.param(torn(128), "torn", id="the decoder filled the rest with grey"),
        pytest.param(torn(255), "", id="a clipped white background is no fault"),
        pytest.param(torn(0), "", id="nor is a black one"),
    ],
)
def test_an_image_that_shows_no_part_has_a_fault(image: NDArray[np.uint8], fault: str) -> None:
    reason = FrameGate(live=False).fault(frame(image))
    assert reason.split(":")[0] == fault
    grey = FrameGate(live=False).fault(frame(from_grey(image[:, :, 0])))
    assert grey == reason


@pytest.mark.parametrize(
    "image",
    [
        NOISE[:, :, 0],
        NOISE[:, :, :1],
        np.dstack([NOISE, NOISE[:, :, :1]]),
        NOISE.astype(np.uint16),
        NOISE.astype(np.float32),
    ],
)
def test_a_frame_of_another_kind_of_array_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match=r"cam: expected a uint8 array of shape .*; got "):
        frame(image)


def test_an_image_file_may_end_in_one_colour() -> None:
    assert FrameGate(live=False).fault(frame(torn(128), file="part.png")) == ""


def test_a_live_camera_that_repeats_itself_is_frozen_until_it_moves() -> None:
    gate = FrameGate(live=True, frozen_after=3)
    faults = [gate.fault(frame(NOISE)).split(":")[0] for _ in range(5)]
    assert faults == ["", "", "", "frozen", "frozen"]
    assert gate.fault(frame(NOISE + 1)) == ""


def test_a_file_may_repeat_itself() -> None:
    gate = FrameGate(live=False, frozen_after=3)
    assert {gate.fault(frame(NOISE)) for _ in range(9)} == {""}


def test_a_stale_frame_is_a_fault_of_a_live_camera_only() -> None:
    old = frame(NOISE, age_s=5)
    assert FrameGate(live=True, stale_after_s=2).fault(old).startswith("stale: captured 5.0 s")
    assert FrameGate(live=False, stale_after_s=2).fault(old) == ""


def test_the_first_frame_has_the_size_that_the_geometry_is_for() -> None:
    gate = FrameGate(live=True, size_wh=(320, 240))
    assert gate.fault(frame(NOISE)).startswith("geometry_changed: 160x120 pixels, expected 320x240")
    assert FrameGate(live=True, size_wh=(160, 120)).fault(frame(NOISE)) == ""


def test_a_grey_frame_is_a_fault_where_normal_images_have_colour() -> None:
    grey = NOISE.copy()
    grey[:] = NOISE[:, :, :1]
    for image in (grey, from_grey(grey[:, :, 0])):
        assert FrameGate(live=True, colour=True).fault(frame(image)).startswith("grey: ")
        assert FrameGate(live=True).fault(frame(image)) == ""
    assert FrameGate(live=True, colour=True).fault(frame(NOISE)) == ""
    grey[33, 41] = (20, 20, 90)  # a red speck between the pixels that are looked at first
    assert FrameGate(live=True, colour=True).fault(frame(grey)) == ""
