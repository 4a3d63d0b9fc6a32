"""`edge-ad threshold` on images that change over time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge_ad.sidecar import load_sidecar
from tests.conftest import invoke, part_image

MakePath = Callable[..., Path]
OPTIONS = ("--parts-from", "each", "--false-alarm-rate", 0.05)


def test_a_drift_over_time_is_refused_and_its_acceptance_recorded(
    make_engine: MakePath, tmp_path: Path
) -> None:
    engine, good = make_engine(threshold=None, score="mean"), tmp_path / "good"
    good.mkdir()
    for seed in range(60):
        cv2.imwrite(str(good / f"{seed}.png"), part_image(seed=seed) + np.uint8(seed // 2))
    args = ("threshold", engine, "--images", good, *OPTIONS)
    done = invoke(*args)
    assert done.returncode == 4 and "drift over time (in order of numbers in names" in done.stderr
    assert load_sidecar(engine) is None
    done = invoke(*args, "--allow-drift")
    assert done.returncode == 0 and "Stored although scores drift" in done.stderr
    assert "The light changes over time (in order of numbers in names: brightness " in done.stderr
    sidecar = load_sidecar(engine)
    assert sidecar and sidecar.threshold and sidecar.threshold.drift
    assert sidecar.threshold.drift.accepted


def test_a_single_grey_level_is_no_change_of_light(make_engine: MakePath, tmp_path: Path) -> None:
    engine, good = make_engine(threshold=None, score="mean"), tmp_path / "good"
    good.mkdir()
    for seed in range(60):
        cv2.imwrite(str(good / f"{seed}.png"), part_image(seed=seed) + np.uint8(seed // 30))
    done = invoke("threshold", engine, "--images", good, *OPTIONS, "--allow-drift")
    assert done.returncode == 0 and "The light changes" not in done.stderr
    sidecar = load_sidecar(engine)
    assert sidecar and sidecar.threshold and (drift := sidecar.threshold.drift)
    assert drift.brightness_p is not None and drift.brightness_p <= drift.level
