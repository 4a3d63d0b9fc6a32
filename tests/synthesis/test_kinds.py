"""Kinds of anomalies to choose by, and those that no training uses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_ad.synthesis.anomalies import SynthesisConfig, synthesize
from edge_ad.synthesis.kinds import FINE, KINDS, UNSEEN, anomaly_of
from edge_ad.synthesis.textures import ProceduralTextures
from tests.part_images import striped_part

SIZES = [(32, 32), (64, 160), (128, 48)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_kind_shows_an_anomaly_where_its_mask_says(kind: str, size: tuple[int, int]) -> None:
    textures = ProceduralTextures(size)
    for seed in range(8):
        tile = striped_part(seed, size)
        sample = anomaly_of(kind, tile, textures, np.random.default_rng(seed), grey=False)
        changed = (sample.anomalous != tile).any(axis=2)
        assert sample.mask.any() and sample.mask.shape == size
        assert changed[sample.mask].mean() > 0.5
        assert sample.mask.mean() < 0.7


@pytest.mark.parametrize("kind", UNSEEN)
def test_unseen_kinds_keep_a_grey_tile_grey_and_leave_the_rest_alone(kind: str) -> None:
    tile = np.repeat(striped_part(1, (64, 64))[..., :1], 3, axis=2)
    for seed in range(10):
        image, mask = UNSEEN[kind](tile, np.random.default_rng(seed), grey=True)
        assert (image.max(axis=2).astype(int) - image.min(axis=2)).max() <= 1
        assert mask.mean() < 0.5
        assert (image == tile).mean() > (0.1 if kind == "light spot" else 0.5)


@pytest.mark.parametrize("size", [(128, 128), (96, 192)])
def test_a_light_spot_is_an_oval_of_a_visible_gain(size: tuple[int, int]) -> None:
    tile, areas, gains = np.full((*size, 3), 100, np.uint8), [], []
    for seed in range(80):
        image, mask = UNSEEN["light spot"](tile, np.random.default_rng(seed), grey=True)
        gain = image[..., 0] / 100
        gains.append(float(gain.flat[np.abs(gain - 1).argmax()]))
        areas.append(mask.mean())
    # an ellipse whose semi-axes are 1.67 times 0.03 to 0.15 of the side
    assert 0.005 < min(areas) < 0.02 and 0.12 < max(areas) < 0.2
    brighter, darker = [one for one in gains if one > 1], [one for one in gains if one < 1]
    assert 1.24 <= min(brighter) < 1.35 and 1.7 < max(brighter) <= 1.8
    assert 0.4 <= min(darker) < 0.45 and 0.7 < max(darker) <= 0.76


def test_no_training_draws_an_unseen_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_ad.synthesis import fine, kinds, unseen

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("drawn in training")

    for name, draw in UNSEEN.items():
        home = fine if draw in (fine.add_specks, fine.add_hairline) else unseen
        monkeypatch.setattr(home, draw.__name__, refuse)
        monkeypatch.setitem(kinds.UNSEEN, name, refuse)
    mixed = SynthesisConfig(structural_share=0.4, cut_paste_share=0.3)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        synthesize(striped_part(0, (32, 32)), ProceduralTextures((32, 32)), mixed, rng, grey=False)


def test_a_uniform_tile_gets_an_empty_mask_and_not_an_endless_search() -> None:
    tile = np.full((32, 32, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    sample = anomaly_of("seamless patch", tile, ProceduralTextures((32, 32)), rng, grey=False)
    assert not sample.mask.any()


def test_fine_defects_are_as_small_on_a_large_tile_as_on_a_small_one() -> None:
    for kind, most_px in (("specks", 4 * 25), ("hairline", 4 * 60)):
        for size in ((64, 64), (256, 256)):
            for seed in range(12):
                tile = striped_part(2, size)
                _, mask = UNSEEN[kind](tile, np.random.default_rng(seed), grey=True)
                assert 0 < mask.sum() <= most_px


def test_two_in_three_fine_defects_are_dark() -> None:
    tile = np.full((32, 32, 3), 128, np.uint8)
    images = [UNSEEN["specks"](tile, np.random.default_rng(n), grey=True)[0] for n in range(150)]
    assert np.mean([image.min() < 120 for image in images]) == pytest.approx(2 / 3, abs=0.08)
    assert {image.max() > 136 for image in images} == {False, True}


def test_a_hairline_is_one_to_three_pixels_wide() -> None:
    for seed in range(12):
        tile = striped_part(2, (128, 128))
        _, mask = UNSEEN["hairline"](tile, np.random.default_rng(seed), grey=True)
        assert not cv2.erode(mask.astype(np.uint8), np.ones((4, 4), np.uint8)).any()


def test_fine_defects_lie_on_the_part() -> None:
    tile = np.full((64, 64, 3), 20, np.uint8)
    tile[20:44, 20:44] = 180
    for seed in range(20):
        _, mask = UNSEEN["specks"](tile, np.random.default_rng(seed), grey=False)
        centres = np.argwhere(mask)
        assert not len(centres) or (centres.min() >= 16 and centres.max() < 48)


@pytest.mark.parametrize("kind", FINE)
@pytest.mark.parametrize("across", [(2.0, 3.0), (8.0, 12.0)])
def test_fine_defects_are_as_wide_as_asked_for(kind: str, across: tuple[float, float]) -> None:
    tile, textures = striped_part(2, (256, 256)), ProceduralTextures((256, 256))
    widths = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sample = anomaly_of(kind, tile, textures, rng, grey=True, across=across)
        inside = cv2.distanceTransform(np.pad(sample.mask.astype(np.uint8), 1), cv2.DIST_L2, 5)
        widths.append(2 * float(inside.max()))
    # some lie at the border, and strokes cross
    assert across[0] - 1 <= np.median(widths) <= across[1] + 2
