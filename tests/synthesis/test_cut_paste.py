"""CutPaste, foreground masks, and anomalies that stay on the part."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ad.frame import Image
from edge_ad.synthesis.anomalies import SynthesisConfig, synthesize
from edge_ad.synthesis.cut_paste import JITTER, SCAR_SHARE, cut_paste, jitter_colour
from edge_ad.synthesis.foreground import foreground_mask
from edge_ad.synthesis.textures import ProceduralTextures

SIDE = 128
AREA = (0.005, 0.10)


def _striped() -> Image:
    rows = np.arange(SIDE, dtype=np.uint8)[:, None, None]
    return np.ascontiguousarray(np.broadcast_to(rows + 60, (SIDE, SIDE, 3)))


def _part_on_background(*, bright: bool = True) -> Image:
    tile = np.full((SIDE, SIDE, 3), 30 if bright else 220, np.uint8)
    tile[20:100, 30:110] = 200 if bright else 40
    tile[50:60, 60:70] = 30 if bright else 220  # a hole in the part
    return tile


def test_a_piece_covers_the_configured_area() -> None:
    rng = np.random.default_rng(0)
    shares = [(cut_paste(_striped(), rng, AREA).weight >= 0.5).mean() for _ in range(400)]
    assert max(shares) <= AREA[1] * 1.05
    assert 0.02 < np.mean(shares) < 0.05  # soft rims and scars cover less
    assert np.mean(np.array(shares) == 0) < 0.05


def test_three_in_ten_are_thin_scars() -> None:
    rng = np.random.default_rng(1)
    large = (0.09, 0.10)  # a scar of 16 x 64 pixels at 256 has 1.6 %
    shares = [(cut_paste(_striped(), rng, large).weight > 0).mean() for _ in range(300)]
    assert np.mean(np.array(shares) < 0.02) == pytest.approx(SCAR_SHARE, abs=0.1)


def test_a_piece_comes_from_the_tile_itself_with_little_colour_jitter() -> None:
    rng = np.random.default_rng(2)
    tile = _striped()
    for _ in range(50):
        image, weight = cut_paste(tile, rng, AREA)
        inside = image[weight >= 1]
        if inside.size:
            assert inside.max() <= 187 * (1 + JITTER) ** 2 and inside.min() >= 60 * 0.55


def test_edges_are_soft() -> None:
    rng = np.random.default_rng(3)
    weights = np.concatenate([cut_paste(_striped(), rng, AREA).weight.ravel() for _ in range(20)])
    assert weights.min() == 0 and weights.max() == 1
    assert ((weights > 0.2) & (weights < 0.8)).mean() > 0.001


def test_colour_jitter_is_up_to_a_fifth_of_brightness_contrast_and_saturation() -> None:
    piece = np.zeros((8, 8, 3), np.uint8)
    piece[:, :4], piece[:, 4:] = (50, 100, 150), (90, 140, 190)
    found = []
    for seed in range(300):
        left, right = jitter_colour(piece, np.random.default_rng(seed))[0, [0, -1]].astype(float)
        brightness = (left.mean() + right.mean()) / 2 / 120
        contrast = (right.mean() - left.mean()) / 40 / brightness
        found.append((brightness, contrast, (left[2] - left[0]) / 100 / brightness / contrast))
    assert np.min(found, axis=0) == pytest.approx(1 - JITTER, abs=0.03)
    assert np.max(found, axis=0) == pytest.approx(1 + JITTER, abs=0.03)


def test_colour_jitter_keeps_a_grey_piece_grey() -> None:
    piece = jitter_colour(_striped()[:9, :9], np.random.default_rng(4))
    assert (piece[..., 0] == piece[..., 1]).all() and (piece[..., 1] == piece[..., 2]).all()


@pytest.mark.parametrize("size_hw", [(8, 8), (8, 40), (40, 8)])
def test_the_largest_piece_fits_a_tile_of_any_ratio(size_hw: tuple[int, int]) -> None:
    tile, covered = np.full((*size_hw, 3), 90, np.uint8), []
    for seed in range(50):
        image, weight = cut_paste(tile, np.random.default_rng(seed), (0.9, 1.0))
        assert image.shape == tile.shape and weight.shape == size_hw
        covered.append(float((weight > 0).mean()))
    assert max(covered) > 0.4  # in a place where most of it is on the tile


@pytest.mark.parametrize("bright", [True, False])
def test_the_foreground_is_the_part_with_filled_holes(*, bright: bool) -> None:
    mask = foreground_mask(_part_on_background(bright=bright))
    assert mask[55, 65] and mask[30, 40]
    assert not mask[5, 5]
    assert mask.sum() == pytest.approx(80 * 80, rel=0.05)


@pytest.mark.parametrize("side", [SIDE, 4 * SIDE])
def test_narrow_gaps_of_a_part_are_closed_and_wide_ones_stay_open(side: int) -> None:
    tile = np.full((side, side, 3), 30, np.uint8)
    tile[side // 4 : -side // 4, side // 8 : -side // 8] = 200
    narrow, wide = round(0.02 * side), round(0.08 * side)
    tile[:, side // 3 : side // 3 + narrow] = 30
    tile[:, side // 2 : side // 2 + wide] = 30
    mask = foreground_mask(tile)
    assert mask[side // 2, side // 3 + narrow // 2]
    assert not mask[side // 2, side // 2 + wide // 2]


def test_a_tile_without_background_is_all_foreground() -> None:
    assert foreground_mask(np.full((SIDE, SIDE, 3), 128, np.uint8)).all()


def test_anomalies_stay_on_the_foreground_when_configured() -> None:
    tile, rng = _part_on_background(), np.random.default_rng(5)
    settings = SynthesisConfig(cut_paste_share=0.5, foreground=True, redraw_empty=True)
    for _ in range(40):
        sample = synthesize(tile, ProceduralTextures((SIDE, SIDE)), settings, rng, grey=True)
        assert sample.mask.any() and not sample.mask[~foreground_mask(tile)].any()
        assert (sample.anomalous == sample.normal)[~foreground_mask(tile)].all()


@pytest.mark.slow
def test_empty_masks_are_drawn_again_only_when_configured() -> None:
    tile, textures = _striped(), ProceduralTextures((SIDE, SIDE))
    empty = {}
    for redraw in (False, True):
        rng = np.random.default_rng(6)
        settings = SynthesisConfig(redraw_empty=redraw)
        samples = (synthesize(tile, textures, settings, rng, grey=True) for _ in range(150))
        empty[redraw] = sum(not sample.mask.any() for sample in samples)
    assert empty[False] > 0 and empty[True] == 0
