"""Other light on normal tiles."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ad.synthesis.anomalies import SynthesisConfig, synthesize
from edge_ad.synthesis.light import vary_light
from edge_ad.synthesis.textures import ProceduralTextures
from tests.part_images import striped_part


def test_exposure_changes_by_up_to_its_stops_in_both_directions() -> None:
    tile = np.full((32, 48, 3), 100, np.uint8)
    means = np.array([vary_light(tile, 0.5, np.random.default_rng(n)).mean() for n in range(200)])
    # half a stop of exposure, and a quarter of gamma at a grey of 100
    assert means.min() > 100 / 2**0.5 * (100 / 255) ** 0.2 - 2
    assert means.max() < 100 * 2**0.5 * (255 / 100) ** 0.2 + 2
    assert means.min() < 80 and means.max() > 125


def test_shading_is_a_straight_ramp_of_up_to_half_the_stops_in_any_direction() -> None:
    tile, ramps = np.full((33, 65, 3), 80, np.uint8), []
    for seed in range(200):
        stops = np.log2(vary_light(tile, 0.5, np.random.default_rng(seed))[..., 0].astype(float))
        ramps.append((stops[16, -1] - stops[16, 0], stops[-1, 32] - stops[0, 32]))
        assert abs(stops[16, 32] - stops[[0, -1], [0, -1]].mean()) < 0.03
    lengths = np.hypot(*np.transpose(ramps))
    assert lengths.max() == pytest.approx(0.25, abs=0.03) and lengths.min() < 0.03
    assert np.percentile(ramps, 5, axis=0) == pytest.approx(-0.2, abs=0.06)
    assert np.percentile(ramps, 95, axis=0) == pytest.approx(0.2, abs=0.06)


def test_gamma_is_two_to_the_power_of_up_to_half_the_stops() -> None:
    tiles = [np.full((3, 3, 3), level, np.uint8) for level in (60, 120)]
    middles = np.array([
        [vary_light(tile, 0.5, np.random.default_rng(seed))[1, 1, 0] for tile in tiles]
        for seed in range(200)
    ])  # fmt: skip
    gammas = np.log2(middles[:, 1] / middles[:, 0])
    assert np.log2([gammas.min(), gammas.max()]) == pytest.approx([-0.25, 0.25], abs=0.04)


def test_channels_change_alike_and_nothing_changes_without_stops() -> None:
    tile = np.repeat(striped_part(0, (32, 32))[..., :1], 3, axis=2)
    changed = vary_light(tile, 1.0, np.random.default_rng(0))
    assert (changed[..., 0] == changed[..., 2]).all() and (changed != tile).any()
    assert np.array_equal(vary_light(tile, 0.0, np.random.default_rng(0)), tile)


def test_light_varies_the_normal_tile_too_so_that_it_is_no_anomaly() -> None:
    settings = SynthesisConfig(exposure=1.0, anomaly_share=0.0)
    textures, tile = ProceduralTextures((32, 32)), striped_part(0, (32, 32))
    sample = synthesize(tile, textures, settings, np.random.default_rng(0), grey=False)
    assert (sample.normal != tile).any()
    assert np.array_equal(sample.normal, sample.anomalous) and not sample.mask.any()


def test_features_of_tiles_in_other_light_are_not_cached() -> None:
    assert SynthesisConfig().keeps_tiles
    assert not SynthesisConfig(exposure=0.1).keeps_tiles
    assert not SynthesisConfig(rotation="small").keeps_tiles
