"""Synthetic anomalies: Perlin statistics, blending, rotation, textures, grey parts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.synthesis.anomalies import SynthesisConfig, random_anomaly, random_rotation, synthesize
from edge_ad.synthesis.augment import AugmentedTextures
from edge_ad.synthesis.blend import blend, is_grey, to_grey
from edge_ad.synthesis.perlin import perlin_mask, perlin_noise
from edge_ad.synthesis.structural import STRUCTURAL_DEFECTS
from edge_ad.synthesis.textures import ProceduralTextures, TextureFolder


def part(seed: int, size_hw: tuple[int, int] = (48, 56)) -> Image:
    """Draw a coloured tile with a gradient and some noise."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(60, 120, size_hw[1])[None, :, None] * rng.uniform(0.7, 1.3, 3)
    return np.asarray(ramp + rng.normal(0, 4, (*size_hw, 3)), np.uint8)


@pytest.mark.slow
def test_perlin_masks_cover_the_area_of_the_released_code() -> None:
    rng = np.random.default_rng(0)
    areas = np.array([perlin_mask((256, 256), rng).mean() for _ in range(400)])
    assert areas.mean() == pytest.approx(0.048, abs=0.005)
    assert np.median(areas) == pytest.approx(0.045, abs=0.005)
    assert (areas == 0).mean() == pytest.approx(0.053, abs=0.02)


def test_perlin_noise_is_zero_at_lattice_nodes() -> None:
    noise = perlin_noise((64, 96), (4, 8), np.random.default_rng(1))
    assert np.abs(noise[::16, ::12]).max() < 1e-5
    assert 0.5 < np.abs(noise).max() < 1.2


@pytest.mark.parametrize("size_hw", [(32, 32), (50, 70), (33, 129)])
def test_perlin_masks_have_any_size(size_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    assert {perlin_mask(size_hw, rng).shape for _ in range(20)} == {size_hw}


def test_anomalies_stay_inside_the_mask() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        sample = synthesize(
            part(0), ProceduralTextures((48, 56)), SynthesisConfig(), rng, grey=False
        )
        assert np.array_equal(sample.normal[~sample.mask], sample.anomalous[~sample.mask])
        assert np.array_equal(sample.normal, part(0))


def test_texture_weight_bounds_how_much_of_the_part_remains() -> None:
    class White:
        name = "white"

        def draw(self, rng: np.random.Generator) -> Image:
            return np.full((64, 64, 3), 255, np.uint8)

    black = np.zeros((64, 64, 3), np.uint8)
    rng = np.random.default_rng(4)
    samples = [synthesize(black, White(), SynthesisConfig(), rng, grey=False) for _ in range(200)]
    weights = np.array([s.anomalous[s.mask].max() / 255 for s in samples if s.mask.any()])
    assert weights.min() >= 0.19
    assert weights.min() < 0.25
    assert 0.95 < weights.max() <= 1


def test_anomaly_share_sets_how_many_samples_are_anomalous() -> None:
    rng = np.random.default_rng(5)
    textures = ProceduralTextures((48, 56))
    half = SynthesisConfig(anomaly_share=0.5)
    empty = [
        not synthesize(part(0), textures, half, rng, grey=False).mask.any() for _ in range(100)
    ]
    every = [
        not synthesize(part(0), textures, SynthesisConfig(), rng, grey=False).mask.any()
        for _ in range(100)
    ]
    assert 35 < sum(empty) < 70
    assert sum(every) < 15


@pytest.mark.parametrize("kind", list(STRUCTURAL_DEFECTS))
def test_each_structural_defect_changes_the_part_inside_its_weight(kind: str) -> None:
    rng = np.random.default_rng(6)
    normal = part(1, (128, 128))
    shares = []
    for _ in range(10):
        weight, image = STRUCTURAL_DEFECTS[kind](normal, rng)
        change = np.abs(blend(normal, image, weight).astype(int) - normal).max(axis=2)
        shares.append(float((weight > 0.25).mean()))
        assert change[weight < 1e-3].max(initial=0) == 0
        assert change.max() > 5
    assert 0.0005 < np.median(shares) < 0.3


@pytest.mark.parametrize("size_hw", [(24, 96), (96, 24)])
@pytest.mark.parametrize("kind", list(STRUCTURAL_DEFECTS))
def test_structural_defects_come_everywhere_on_a_long_part(
    kind: str, size_hw: tuple[int, int]
) -> None:
    rng, normal = np.random.default_rng(11), part(1, size_hw)
    weights = [STRUCTURAL_DEFECTS[kind](normal, rng)[0] for _ in range(40)]
    long_side = int(np.argmax(size_hw))
    middles = [np.argwhere(one > 0.25)[:, long_side].mean() for one in weights if one.max() > 0.25]
    assert len(middles) >= 32
    assert np.percentile(middles, 10) < 30 and np.percentile(middles, 90) > 66


def test_rotation_none_keeps_the_tile() -> None:
    assert np.array_equal(
        random_rotation(part(0), SynthesisConfig(), np.random.default_rng(0)), part(0)
    )


def test_small_rotation_fills_corners_and_keeps_the_middle() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    settings = SynthesisConfig(rotation="small")
    rotations = [random_rotation(white, settings, np.random.default_rng(seed)) for seed in range(8)]
    assert all((image[24:40, 24:40] == 255).all() for image in rotations)
    assert min(int(image[0, 0, 0]) for image in rotations) == 114


@pytest.mark.parametrize(("hw", "shapes"), [((48, 48), 4), ((48, 56), 2)])
def test_full_rotation_takes_the_quarters_the_shape_allows(
    hw: tuple[int, int], shapes: int
) -> None:
    settings = SynthesisConfig(rotation="full", rotation_small_deg=0)
    tile = part(2, hw)
    rng = np.random.default_rng(7)
    rotations = {random_rotation(tile, settings, rng).tobytes() for _ in range(60)}
    assert len(rotations) == shapes
    assert random_rotation(tile, settings, rng).shape == tile.shape


def test_grey_parts_get_grey_anomalies() -> None:
    grey = to_grey(part(3))
    assert is_grey(grey[None])
    assert not is_grey(part(3)[None])
    rng = np.random.default_rng(8)
    for share in (0.0, 1.0):
        settings = SynthesisConfig(structural_share=share)
        sample = synthesize(grey, ProceduralTextures((48, 56)), settings, rng, grey=True)
        assert is_grey(sample.anomalous[None])


def test_generated_textures_are_many_and_varied() -> None:
    rng = np.random.default_rng(9)
    textures = ProceduralTextures((64, 80))
    drawn = [textures.draw(rng) for _ in range(60)]
    assert {texture.shape for texture in drawn} == {(64, 80, 3)}
    assert len({texture.tobytes() for texture in drawn}) == 60
    assert np.median([float(texture.std()) for texture in drawn]) > 10


def test_texture_folder_reads_subfolders_and_skips_broken_files(tmp_path: Path) -> None:
    for index, kind in enumerate(("bark", "woven")):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), np.full((90, 70, 3), 50 * index + 50, np.uint8))
    (tmp_path / "bark" / "broken.jpg").write_bytes(b"no image")
    textures = TextureFolder(tmp_path, (32, 48))
    rng = np.random.default_rng(10)
    drawn = [textures.draw(rng) for _ in range(40)]
    assert {texture.shape for texture in drawn} == {(32, 48, 3)}
    assert {int(texture[0, 0, 0]) for texture in drawn} == {50, 100}


@pytest.mark.parametrize("exists", [False, True])
def test_a_texture_folder_without_images_is_an_error(tmp_path: Path, *, exists: bool) -> None:
    folder = tmp_path / "textures"
    if exists:
        folder.mkdir()
    with pytest.raises(DataError, match="textures: no"):
        TextureFolder(folder, (32, 32))


def test_unreadable_textures_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="ten textures in a row cannot be read"):
        TextureFolder(tmp_path, (32, 32)).draw(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("config", "next_number", "share"),
    [
        (SynthesisConfig(), 3162073035365853033, 0.0381),
        (SynthesisConfig(structural_share=1.0), 241132992963701354, 0.0921),
        (
            SynthesisConfig(rotation="full", rotation_share=0.5, anomaly_share=0.5),
            2405656989332305972,
            0.0088,
        ),
    ],
    ids=["textures", "structural", "half rotated"],
)
def test_a_seed_always_gives_the_same_anomalies(
    config: SynthesisConfig, next_number: int, share: float
) -> None:
    """Trainings are reproducible: the next random number shows that the same draws came before."""
    rng, normal = np.random.default_rng(7), noisy(48, 56, seed=1)
    textures = ProceduralTextures((48, 56))
    drawn = [synthesize(normal, textures, config, rng, grey=False) for _ in range(20)]
    assert int(rng.integers(2**62)) == next_number
    assert np.mean([sample.mask.mean() for sample in drawn]) == pytest.approx(share, abs=2e-4)


def test_a_seed_always_gives_the_same_augmented_textures() -> None:
    rng, textures = np.random.default_rng(7), AugmentedTextures(ProceduralTextures((48, 56)))
    drawn = [textures.draw(rng) for _ in range(20)]
    assert int(rng.integers(2**62)) == 4538824699201370251
    assert len({texture.tobytes() for texture in drawn}) == 20


def noisy(height: int, width: int, *, seed: int) -> NDArray[np.uint8]:
    values = np.random.default_rng(seed).integers(60, 120, (height, width, 3))
    return values.astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32))
def test_an_image_of_any_size_gets_an_anomaly(height: int, width: int, seed: int) -> None:
    normal = noisy(height, width, seed=0)
    sample = random_anomaly(normal, np.random.default_rng(seed))
    again = random_anomaly(normal, np.random.default_rng(seed))
    assert sample.anomalous.shape == normal.shape and sample.mask.any()
    assert np.array_equal(sample.anomalous, again.anomalous)
    assert np.array_equal(sample.normal, normal)


def test_an_anomaly_lies_in_the_judged_part_of_an_image() -> None:
    normal = noisy(80, 80, seed=1)
    upper = ((0, 0), (80, 0), (80, 70), (0, 70))
    geometry = Geometry(roi_xywh=(50, 60, 24, 16), ignore=(upper,))
    for seed in range(30):
        sample = random_anomaly(normal, np.random.default_rng(seed), geometry)
        rows, columns = np.nonzero(sample.mask)
        assert rows.min() >= 60 and rows.max() < 76 and columns.min() >= 50 and columns.max() < 74
        assert (rows > 70).any()
        assert np.array_equal(sample.anomalous[:, :50], normal[:, :50])
        assert sample.mask.shape == normal.shape[:2] and np.array_equal(sample.normal, normal)


@pytest.mark.parametrize("roi_xywh", [(10, 0, 31, 30), (0, 10, 40, 21)])
def test_an_image_that_a_region_does_not_fit_counts_as_a_whole(
    roi_xywh: tuple[int, int, int, int],
) -> None:
    normal, shown = noisy(30, 40, seed=1), np.zeros((30, 40), np.bool_)
    for seed in range(60):
        shown |= random_anomaly(
            normal, np.random.default_rng(seed), Geometry(roi_xywh=roi_xywh)
        ).mask
    assert shown[:10].any() and shown[:, :10].any() and shown[20:].any() and shown[:, 30:].any()


def test_anomalies_of_whole_images_range_from_specks_to_areas() -> None:
    normal = noisy(64, 64, seed=2)
    samples = [random_anomaly(normal, np.random.default_rng(seed)) for seed in range(200)]
    shares = np.array([sample.mask.mean() for sample in samples])
    change = [
        np.abs(sample.anomalous.astype(int) - normal)[sample.mask].mean() for sample in samples
    ]
    assert shares.min() < 0.01 and 0.02 < np.median(shares) < 0.1 and shares.max() < 0.6
    assert np.median(change) > 20 and np.mean(np.array(change) > 3) > 0.95


def test_a_grey_image_gets_a_grey_anomaly() -> None:
    grey = to_grey(part(4))
    for seed in range(10):
        assert is_grey(random_anomaly(grey, np.random.default_rng(seed)).anomalous[None])
