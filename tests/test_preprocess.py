from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.errors import UsageError
from edge_ad.frame import from_grey, pixels_of
from edge_ad.geometry import Geometry, Shrink
from edge_ad.preprocess import Preprocess

geometries = st.builds(
    Geometry,
    tiles=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    overlap=st.floats(0, 0.5),
)
sizes = st.tuples(st.integers(40, 200), st.integers(40, 200))


@settings(max_examples=60, deadline=None)
@given(geometries, sizes)
def test_tiles_cover_the_frame_and_equal_maps_stitch_without_seams(
    geometry: Geometry, frame_hw: tuple[int, int]
) -> None:
    preprocess = Preprocess((32, 48), geometry)
    batch = preprocess(np.full((*frame_hw, 3), 77, np.uint8))
    assert batch.shape == (geometry.tile_count, 32, 48, 3)
    assert (batch == 77).all()
    flat = preprocess.stitch(np.full((len(batch), 32, 48), 0.25, np.float32), frame_hw)
    np.testing.assert_allclose(flat.values, 0.25, rtol=1e-6)
    rows, columns = flat.values.shape
    assert flat.scale_xy[0] * columns == pytest.approx(frame_hw[1])
    assert flat.scale_xy[1] * rows == pytest.approx(frame_hw[0])


@settings(max_examples=40, deadline=None)
@given(geometries, st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_a_spot_keeps_its_place_on_the_map(geometry: Geometry, down: float, right: float) -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    y, x = round(down * 232), round(right * 312)
    frame[y : y + 8, x : x + 8] = 255
    preprocess = Preprocess((64, 64), geometry)
    maps = preprocess(frame)[..., 0].astype(np.float32)
    stitched = preprocess.stitch(maps, (240, 320))
    row, column = np.unravel_index(int(stitched.values.argmax()), stitched.values.shape)
    peak_xy = ((column + 0.5) * stitched.scale_xy[0], (row + 0.5) * stitched.scale_xy[1])
    assert abs(peak_xy[0] - (x + 4)) <= 4 + 320 / 64
    assert abs(peak_xy[1] - (y + 4)) <= 4 + 240 / 64


def test_a_ramp_stays_a_ramp_across_tiles() -> None:
    ramp = np.tile(np.linspace(0, 255, 256, dtype=np.uint8)[None, :, None], (64, 1, 3))
    preprocess = Preprocess((64, 64), Geometry(tiles=(1, 6), overlap=0.3))
    stitched = preprocess.stitch(preprocess(ramp)[..., 0].astype(np.float32), (64, 256)).values
    steps = np.diff(stitched.mean(axis=0))
    assert steps.min() > -0.5 and steps.max() < 3 * steps.mean()


def test_the_region_of_interest_is_cut_out_exactly() -> None:
    frame = np.zeros((100, 120, 3), np.uint8)
    frame[20:52, 30:62] = 200
    preprocess = Preprocess((32, 32), Geometry(roi_xywh=(30, 20, 32, 32)))
    assert (preprocess(frame) == 200).all()
    stitched = preprocess.stitch(np.zeros((1, 32, 32), np.float32), (100, 120))
    assert (stitched.origin_xy, stitched.scale_xy) == ((30, 20), (1, 1))


def test_a_region_of_interest_outside_the_frame_is_refused() -> None:
    preprocess = Preprocess((32, 32), Geometry(roi_xywh=(100, 0, 64, 64)))
    with pytest.raises(UsageError, match=r"x=100 y=0 width=64 height=64 .* 128x96"):
        preprocess(np.zeros((96, 128, 3), np.uint8))


def test_ignored_polygons_vanish_from_the_map_and_from_the_tiles() -> None:
    polygon = ((0, 0), (63, 0), (63, 31), (0, 31))
    geometry = Geometry(ignore=(polygon,), tiles=(2, 1))
    preprocess = Preprocess((32, 64), geometry)
    stitched = preprocess.stitch(np.ones((2, 32, 64), np.float32), (64, 64)).values
    assert np.isneginf(stitched[:31]).all() and (stitched[33:] == 1).all()
    upper, lower = preprocess.tile_ignored((64, 64))
    assert upper.all() and not lower.any()


def test_a_thin_scratch_survives_a_large_reduction() -> None:
    frame = np.zeros((1024, 1024, 3), np.uint8)
    frame[:, 511] = 255
    assert Preprocess((64, 64))(frame).max() > 8


def test_masks_land_on_the_same_canvas_as_maps() -> None:
    mask = np.zeros((100, 200), np.bool_)
    mask[40:60, 80:120] = True
    preprocess = Preprocess((50, 50), Geometry(tiles=(1, 2), overlap=0.2))
    canvas = preprocess.mask(mask)
    stitched = preprocess.stitch(np.zeros((2, 50, 50), np.float32), (100, 200))
    assert canvas.shape == stitched.values.shape
    assert canvas.mean() == pytest.approx(mask.mean(), rel=0.1)


def test_bilinear_shrinking_is_opencvs_and_skips_what_lies_between() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    bilinear = Preprocess((64, 64), Geometry(shrink="bilinear"))
    expected = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(bilinear(frame)[0], expected)
    scratched = np.zeros((1024, 1024, 3), np.uint8)
    scratched[:, 509] = 255
    assert bilinear(scratched).max() == 0 and Preprocess((64, 64))(scratched).max() > 8


@pytest.mark.parametrize("shrink", ["area", "bilinear"])
def test_a_grey_frame_of_one_plane_gives_the_batch_of_three_equal_channels(shrink: Shrink) -> None:
    plane = np.random.default_rng(3).integers(0, 256, (123, 260), np.uint8)
    cut = Preprocess((40, 56), Geometry(roi_xywh=(10, 4, 240, 112), tiles=(1, 2), shrink=shrink))
    grey = from_grey(plane)
    assert np.shares_memory(pixels_of(grey), plane) and pixels_of(grey).shape == plane.shape
    copied = np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2BGR), np.uint8)
    np.testing.assert_array_equal(cut(grey), cut(copied))


def test_a_region_given_for_another_frame_size_is_refused_until_it_is_given_again() -> None:
    trained = Geometry(roi_xywh=(10, 4, 40, 40), frame_wh=(64, 48))
    assert Preprocess((32, 32), trained)(np.zeros((48, 64, 3), np.uint8)).shape == (1, 32, 32, 3)
    other = np.zeros((96, 128, 3), np.uint8)
    with pytest.raises(UsageError, match=r"the frame is 128x96, .* for frames of 64x48"):
        Preprocess((32, 32), trained)(other)
    with pytest.raises(UsageError, match="128x96"):
        Preprocess((32, 32), trained.changed({"tiles": (1, 2)}))(other)
    doubled = trained.changed({"roi_xywh": (20, 8, 80, 80)})
    assert Preprocess((32, 32), doubled)(other).shape == (1, 32, 32, 3)
