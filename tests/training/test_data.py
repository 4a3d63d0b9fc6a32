"""Training images as tiles: memory, identity, and unusable images."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from edge_ad.dataset import normal_images
from edge_ad.errors import DataError, OutletLost
from edge_ad.geometry import Geometry
from edge_ad.images import write_image
from edge_ad.preprocess import Preprocess
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.textures import ProceduralTextures
from edge_ad.training import data
from edge_ad.training.data import BatchSampler, load_tiles, scale_of, warn_of_ratios
from tests.part_images import striped_part
from tests.training.train_configs import write_parts


def test_tiles_are_cut_as_on_the_line(tmp_path: Path) -> None:
    write_parts(tmp_path, 3)
    preprocess = Preprocess((32, 32), Geometry(tiles=(2, 2), overlap=0.2))
    loaded = load_tiles(normal_images(tmp_path), preprocess)
    assert np.array_equal(loaded.tiles[4:8], preprocess(striped_part(1)))
    assert list(loaded.image) == [0] * 4 + [1] * 4 + [2] * 4


def test_images_of_other_ratios_are_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, width in enumerate((60, 60, 62)):
        write_image(tmp_path / f"{number}.png", np.full((40, width, 3), 90, np.uint8))
    preprocess = Preprocess((32, 32))
    near = load_tiles(normal_images(tmp_path), preprocess)
    warn_of_ratios(near, (32, 32))
    assert near.tile_hw == (40, 60) and scale_of(near, (20, 30)) == 0.5 and not caplog.records
    write_image(tmp_path / "other.png", np.full((60, 60, 3), 90, np.uint8))
    warn_of_ratios(load_tiles(normal_images(tmp_path), preprocess), (32, 32))
    assert "from 0.65 to 1.00" in caplog.text and "32x32" in caplog.text


def test_many_tiles_go_to_disk_and_read_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parts(tmp_path, 3)
    paths, preprocess = normal_images(tmp_path), Preprocess((32, 32))
    in_memory = load_tiles(paths, preprocess)
    monkeypatch.setattr(data, "IN_MEMORY_BYTES", 0)
    on_disk = load_tiles(paths, preprocess)
    assert isinstance(on_disk.tiles, np.memmap)
    assert np.array_equal(on_disk.tiles, in_memory.tiles)


def test_tiles_that_the_disk_has_no_room_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_parts(tmp_path, 1)
    monkeypatch.setattr(data, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutletLost, match=r"No space left on device.*TMPDIR"):
        load_tiles(normal_images(tmp_path), Preprocess((32, 32)))


def test_the_same_images_under_other_names_have_the_same_identity(tmp_path: Path) -> None:
    write_parts(tmp_path / "a", 3)
    write_parts(tmp_path / "b", 3)
    (tmp_path / "b" / "000.png").rename(tmp_path / "b" / "zzz.png")
    one, other = (
        load_tiles(normal_images(tmp_path / name), Preprocess((32, 32))) for name in ("a", "b")
    )
    assert one.data_sha256 == other.data_sha256


def test_no_images_are_an_error() -> None:
    with pytest.raises(DataError, match="no images"):
        load_tiles([], Preprocess((32, 32)))


@pytest.mark.parametrize(("level", "fault"), [(0, "black"), (255, "saturated")])
def test_images_of_a_covered_or_blinded_camera_are_left_out(
    tmp_path: Path, level: int, fault: str
) -> None:
    write_parts(tmp_path, 3)
    dead = np.full((32, 32, 3), level, np.uint8)
    write_image(tmp_path / "dead.png", dead)
    loaded = load_tiles(normal_images(tmp_path), Preprocess((32, 32)))
    assert loaded.images == 3
    assert [Path(name).name for name in loaded.skipped] == ["dead.png"]
    with pytest.raises(DataError, match=f"none of the 1 images shows a part.*dead.png: {fault}"):
        load_tiles([tmp_path / "dead.png"], Preprocess((32, 32)))


@pytest.mark.parametrize("repetition", [False, True])
def test_tiles_come_in_passes_or_are_drawn_with_repetition(*, repetition: bool) -> None:
    tiles = np.stack([striped_part(seed, (32, 32)) for seed in range(6)])
    sampler = BatchSampler(
        tiles, np.arange(6), ProceduralTextures((32, 32)), SynthesisConfig(anomaly_share=0.0),
        size=2, seed=0, grey=False, repetition=repetition,
    )  # fmt: skip
    drawn = [int(tile) for step in range(30) for tile in sampler.draw(step).tile]
    orders = [tuple(drawn[start : start + 6]) for start in range(0, 60, 6)]
    passes = [len(set(order)) for order in orders]
    assert len(set(orders)) > 8, "each pass in another order"
    assert set(drawn) == set(range(6)) and drawn == [
        int(tile) for step in range(30) for tile in sampler.draw(step).tile
    ]
    assert passes == [6] * 10 if not repetition else min(passes) < 6
