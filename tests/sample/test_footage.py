"""Videos and data sets of the synthetic line, and their ground truth."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_ad.dataset import labelled_images, normal_images
from edge_ad.dataset.mask import read_mask
from edge_ad.frame import Frame
from edge_ad.images import read_image
from edge_ad.sample.check import read_truth
from edge_ad.sample.dataset import write_dataset
from edge_ad.sample.footage import PLAN, main, record
from edge_ad.source import open_source
from edge_ad.synthetic_line import KINDS, Defect, SyntheticLine, SyntheticLineSpec


def test_a_video_shows_the_line_and_its_truth_matches_every_frame(tmp_path: Path) -> None:
    line = SyntheticLine(
        SyntheticLineSpec(seed=8, size_wh=(160, 120), plan=(Defect("stain", 0.9, 0.9),))
    )
    record(line, 50, tmp_path / "a.mp4")
    truth = read_truth(tmp_path / "a.mp4.yaml")
    with open_source(str(tmp_path / "a.mp4")) as source:
        frames = [grab for grab in source if isinstance(grab, Frame)]
    assert len(frames) == truth["frames"] == 50
    for index, frame in enumerate(frames):
        labelled = line.frame_at(index)
        boxes = [list(defect.box_xywh) for defect in labelled.defects]
        assert [defect["box_xywh"] for defect in truth["visible"].get(index, [])] == boxes
        assert np.abs(frame.image.astype(int) - labelled.image).mean() < 8  # the codec takes noise
    assert truth["defects"] == [{"part": 0, "kind": "stain", "size": 0.9, "contrast": 0.9}]


def test_the_shipped_plan_has_every_kind_in_several_sizes_between_normal_plates() -> None:
    defects = [defect for defect in PLAN if defect]
    for kind in KINDS:
        assert len({defect.size for defect in defects if defect.kind == kind}) >= 3
    assert not any(first and second for first, second in itertools.pairwise(PLAN))
    assert PLAN.count(None) > len(defects)


def test_the_command_records_a_normal_line(tmp_path: Path) -> None:
    path = tmp_path / "normal.mp4"
    args = ["-o", str(path), "--normal", "--seed", "4", "--frames", "12"]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    truth = read_truth(tmp_path / "normal.mp4.yaml")
    assert (truth["frames"], truth["defects"], truth["visible"]) == (12, [], {})


@pytest.mark.slow
def test_a_data_set_has_the_layout_and_masks_that_training_and_metrics_read(
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path, train=5, normal=3, per_kind=2, seed=1, size_wh=(160, 120))
    assert len(normal_images(tmp_path)) == 5
    samples = labelled_images(tmp_path)
    counts = {kind: sum(sample.kind == kind for sample in samples) for kind in ("good", *KINDS)}
    assert counts == {"good": 3, **dict.fromkeys(KINDS, 2)}
    for sample in samples:
        if sample.anomalous:
            assert len(sample.masks) == 1
            mask = read_mask(sample.masks[0])
            assert mask.shape == read_image(sample.path).shape[:2]
            assert 0 < mask.mean() < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_writes_the_same_data_set(tmp_path: Path, seed: int) -> None:
    for name in ("a", "b"):
        write_dataset(tmp_path / name, train=2, normal=1, per_kind=1, seed=seed, size_wh=(64, 48))
    for path in (tmp_path / "a").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
