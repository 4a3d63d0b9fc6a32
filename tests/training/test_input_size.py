"""The network's input size in the ratio of the parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_ad.errors import UsageError
from edge_ad.geometry import Geometry
from edge_ad.images import write_image
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.registry import METHODS
from edge_ad.training.input_size import common_size, fitted_size, ratio_of_parts, size_for, sizes_of
from edge_ad.training.train_config import load, with_sizes
from tests.training.train_configs import tiny_training, write_parts


@pytest.mark.parametrize(
    ("ratio", "size"),
    [(2.5, (208, 80)), (0.4, (80, 208)), (1.25, (128, 128)), (0.8, (128, 128)), (1.6, (160, 96))],
)
def test_the_area_stays_and_the_ratio_is_the_parts(ratio: float, size: tuple[int, int]) -> None:
    assert fitted_size(128, ratio, 16) == size


@pytest.mark.parametrize("ratio", [0.01, 0.2, 3.0, 40.0, 500.0])
@pytest.mark.parametrize("multiple", [16, 32, 128])
def test_every_ratio_gives_a_size_that_networks_take(ratio: float, multiple: int) -> None:
    for side in fitted_size(256, ratio, multiple):
        assert 32 <= side <= 2048 and side % multiple == 0


@pytest.mark.parametrize("method", METHODS)
def test_every_methods_network_takes_its_fitted_size(method: str) -> None:
    import torch

    from edge_ad.methods.method import load_method

    settings = parse_settings(load_training(method), {}, "edge")
    size = size_for(method, settings.network, 128, 2.5)
    assert size[0] / size[1] > 1.7 and 0.7 < size[0] * size[1] / 128**2 < 1.4
    with torch.device("meta"):
        load_method(method).build(settings.network, size)


def test_files_left_out_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (write_parts(tmp_path / "parts") / "notes.txt").write_text("mine")
    load(with_sizes(tiny_training(tmp_path, keep_aspect=True)))
    assert caplog.text.count("notes.txt") == 1


def test_the_ratio_is_that_of_a_tile_of_the_region(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        write_image(path, np.full((100, 200, 3), 90, np.uint8))
    sizes = sizes_of(paths)
    assert ratio_of_parts(sizes, Geometry()) == pytest.approx(0.5)
    tiled = Geometry(roi_xywh=(0, 0, 120, 40), tiles=(1, 3), overlap=0.0)
    assert ratio_of_parts(sizes, tiled) == pytest.approx(1.0)
    with pytest.raises(UsageError, match=r"0\.png.*region of interest"):
        ratio_of_parts(sizes, Geometry(roi_xywh=(0, 0, 999, 40)))


def test_images_that_cannot_be_read_give_a_square(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    sizes = sizes_of([tmp_path / "bad.png"])
    assert (ratio_of_parts(sizes, Geometry()), common_size(sizes)) == (1.0, None)


def test_a_region_is_for_frames_of_the_size_that_most_images_have(tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "parts")
    region = Geometry(roi_xywh=(4, 4, 40, 40))
    given = with_sizes(tiny_training(tmp_path, geometry=region))
    assert given.geometry.frame_wh == (56, 48) and given.size_hw == (32, 32)
    assert with_sizes(tiny_training(tmp_path)).geometry.frame_wh is None
    write_image(parts / "0-other-camera.png", np.full((48, 80, 3), 90, np.uint8))
    with pytest.raises(UsageError, match=r"0-other-camera\.png: the frame is 80x48, .* of 56x48"):
        load(with_sizes(tiny_training(tmp_path, geometry=region)))
