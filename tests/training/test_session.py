"""Whole trainings: files, resume, interruption, divergence, bad images, geometry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edge_ad.errors import DataError, EdgeAdError, UsageError
from edge_ad.geometry import Geometry
from edge_ad.images import write_image
from edge_ad.methods.torch_engine import TorchEngine
from edge_ad.methods.weights import load_detector
from edge_ad.preprocess import Preprocess
from edge_ad.training.checkpoint import checkpoint_path
from edge_ad.training.loop import Interrupted
from tests.part_images import striped_part
from tests.training.conftest import Trained
from tests.training.runs import run
from tests.training.train_configs import tiny_training, write_parts


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return load_detector(path).module.state_dict()


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_training_leaves_weights_report_and_image(trained: Trained) -> None:
    folder, result = trained.weights.parent, trained.report
    report = json.loads((folder / "destseg.report.json").read_text())
    assert report["images"] == 10
    assert report["steps"] == {"student": 2, "segmentation": 2}
    assert set(report["choice"]["measured"]) == {"segmentation", "distance", "combined"}
    assert result["choice"]["branch"] in report["choice"]["measured"]
    assert cv2.imread(str(folder / "destseg.report.png")) is not None
    assert sorted(path.name for path in folder.glob("destseg*")) == [
        "destseg.pt",
        "destseg.report.json",
        "destseg.report.png",
    ]
    manifest = load_detector(folder / "destseg.pt").manifest
    assert manifest.size_hw == (32, 32)
    assert manifest.provenance.images == report["split"]["trained"]["images"] == 7
    chosen = report["choice"]  # by rounding: an untrained net's scores are equal but for it
    assert set(chosen["top_k_measured"]) == {"1", "2", "8"}
    assert manifest.score.top_k == chosen["top_k"] and chosen["top_k"] in (1, 2, 8)


@pytest.mark.slow
def test_resume_reaches_the_weights_of_an_uninterrupted_run(folder: Path, trained: Trained) -> None:
    for steps_done in (1, 2, 3):  # within a phase, between the phases, within the next
        with pytest.raises(Interrupted):
            run(tiny_training(folder, "broken.pt", resume=steps_done > 1), stop_after=steps_done)
        assert not (folder / "broken.pt").exists()
    run(tiny_training(folder, "broken.pt", resume=True))
    assert_same_weights(trained.weights, folder / "broken.pt")
    assert not checkpoint_path(folder / "broken.pt").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_with_any_number_of_threads(
    folder: Path, trained: Trained
) -> None:
    run(tiny_training(folder, workers=4))  # that prefetch; one is the default
    assert_same_weights(trained.weights, folder / "destseg.pt")


@pytest.mark.slow
def test_another_seed_gives_other_weights(folder: Path, trained: Trained) -> None:
    run(tiny_training(folder, seed=1))
    one, other = state_of(trained.weights), state_of(folder / "destseg.pt")
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_resume_of_another_training_names_what_differs(folder: Path) -> None:
    with pytest.raises(Interrupted):
        run(tiny_training(folder), stop_after=1)
    textures = write_parts(folder / "textures", count=1)
    changes: list[tuple[str, dict[str, Any]]] = [
        ("seed was 0, now 5", {"seed": 5}),
        (r"size was \(32, 32\), now \(32, 48\)", {"size_hw": (32, 48)}),
        ("settings was .*now .*", {"settings": {"steps": 6}}),
        ("geometry was .*40.*", {"geometry": Geometry(roi_xywh=(0, 0, 40, 40))}),
        ("textures was procedural, now .*textures", {"textures": textures}),
        ("budget-minutes was None, now 2.0", {"budget_minutes": 2.0}),
    ]
    for difference, change in changes:
        with pytest.raises(UsageError, match=f"another training: {difference}. Give the same"):
            run(tiny_training(folder, resume=True, **change))
    write_image(folder / "parts" / "000.png", striped_part(77))
    with pytest.raises(UsageError, match="images was"):
        run(tiny_training(folder, resume=True))


def test_resume_without_a_checkpoint_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        run(tiny_training(folder, resume=True))


def test_a_broken_checkpoint_is_named(folder: Path) -> None:
    checkpoint_path(folder / "destseg.pt").write_bytes(b"broken")
    with pytest.raises(DataError, match="not a checkpoint"):
        run(tiny_training(folder, resume=True))


def test_divergence_stops_and_says_where(folder: Path) -> None:
    wild = {"steps": 40, "lr_student": 1e30}
    with pytest.raises(EdgeAdError, match=r"at step \d+, phase student: training diverged"):
        run(tiny_training(folder, settings=wild))
    assert not (folder / "destseg.pt").exists()


@pytest.mark.slow
def test_a_time_budget_ends_each_phase_by_the_clock(folder: Path) -> None:
    result = run(tiny_training(folder, settings={"steps": 1_000_000}, budget_minutes=0.01))
    assert 0 < result["minutes"] < 0.5
    assert all(count > 0 for count in result["steps"].values())


def test_only_unreadable_images_are_an_error(folder: Path) -> None:
    for path in (folder / "parts").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 10 images can be read"):
        run(tiny_training(folder))


def test_images_of_any_size_train_together_and_unfit_ones_are_named(folder: Path) -> None:
    parts = folder / "parts"
    cv2.imwrite(str(parts / "large.png"), striped_part(50, (90, 120)))
    cv2.imwrite(str(parts / "grey.png"), striped_part(51)[..., 0])
    cv2.imwrite(str(parts / "deep.png"), striped_part(52).astype(np.uint16) * 257)
    (parts / "004.png").write_bytes(b"")
    (parts / "zz.jpg").write_bytes(b"no image")
    (parts / "list.tga").write_text("no image")
    result = run(tiny_training(folder, settings={"lr_student": 0.1}))
    assert result["images"] == 11
    assert {Path(name).name for name in result["skipped"]} == {"004.png", "deep.png", "zz.jpg"}
    assert list(result["left_out"]) == [str(parts / "list.tga")]


def test_tiles_are_samples_and_geometry_and_a_named_branch_travel(
    folder: Path, trained: Trained
) -> None:
    geometry = Geometry(roi_xywh=(4, 4, 48, 40), tiles=(2, 3), overlap=0.1)
    measured = trained.report["choice"]["branch"]
    branch = next(name for name in ("segmentation", "distance") if name != measured)
    result = run(tiny_training(folder, geometry=geometry, settings={"network.branch": branch}))
    assert result["tiles"] == 60 and result["choice"]["why"] == "named by the user"
    assert load_detector(folder / "destseg.pt").config["branch"] == branch
    with TorchEngine(folder / "destseg.pt") as engine:
        assert engine.manifest.geometry == geometry.replace(frame_wh=(56, 48))
        cut = Preprocess(engine.manifest.size_hw, geometry)
        assert engine.infer(cut(striped_part(0))).maps.shape == (6, 32, 32)


def test_a_region_outside_the_image_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="region of interest"):
        run(tiny_training(folder, geometry=Geometry(roi_xywh=(0, 0, 400, 40))))


@pytest.mark.parametrize(("count", "grey"), [(1, False), (3, True)])
def test_very_few_images_still_train_and_grey_ones_are_detected(
    folder: Path, count: int, *, grey: bool
) -> None:
    few = write_parts(folder / "few", count)
    for path in few.iterdir() if grey else ():
        cv2.imwrite(str(path), striped_part(0)[..., 0])
    result = run(replace(tiny_training(folder), data=few))
    assert (result["images"], result["grey"]) == (count, grey)


def test_deep_images_that_keep_few_grey_levels_are_warned_about(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warm = write_parts(folder / "warm", 1)
    for path in warm.iterdir():
        cv2.imwrite(str(path), 29000 + 4 * striped_part(0)[..., 0].astype(np.uint16))
    with pytest.raises(Interrupted):  # more steps on an image that is nearly even may diverge
        run(replace(tiny_training(folder), data=warm), stop_after=1)
    assert "of 256 grey levels, since 16 bits" in caplog.text


def test_the_device_of_another_machine_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no such device"):
        run(tiny_training(folder, device="abacus"))
