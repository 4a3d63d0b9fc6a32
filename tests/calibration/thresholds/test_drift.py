"""Drift over time, and frames that show one part: exact levels, and power."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edge_ad.calibration.thresholds import drift
from edge_ad.calibration.thresholds.drift import (
    LEVEL,
    check_drift,
    check_independence,
    dependence_of,
    drift_of,
    time_order,
)
from edge_ad.calibration.thresholds.scores import Scores
from edge_ad.errors import GateFailed


@pytest.mark.parametrize("test", [drift_of, dependence_of])
@pytest.mark.parametrize("ties", [False, True])
def test_the_level_is_exact(test: drift.Statistic, ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip # noqa: E501, FBT001
    monkeypatch.setattr(drift, "_ORDERS", 99)
    rng, rounds = np.random.default_rng(1), 1000
    samples = rng.integers(0, 6, (rounds, 30)) if ties else rng.pareto(1.0, (rounds, 30))
    rejected = np.mean([test(sample.astype(np.float64)) <= 0.1 for sample in samples])
    assert rejected <= 0.1 + 3 * (0.09 / rounds) ** 0.5
    assert rejected > 0.05, "ties cost a little; more would mean that the test is blind"


def drifting(kind: str, count: int = 60) -> Scores:
    added = {
        "trend": np.linspace(0, 3, count),
        "jump": np.r_[np.zeros(count - 15), np.full(15, 2.5)],
        "fall": np.linspace(3, 0, count),
        "none": np.zeros(count),
    }[kind]
    return np.asarray(np.random.default_rng(2).normal(size=count) + added, np.float64)


@pytest.mark.parametrize("kind", ["trend", "jump", "fall"])
def test_a_drift_is_refused_unless_it_is_allowed(kind: str) -> None:
    with pytest.raises(GateFailed, match="in order of file times") as refusal:
        check_drift(drifting(kind), "file times")
    assert refusal.value.facts["parts"] == 60
    allowed = check_drift(drifting(kind), "file times", allowed=True)
    assert allowed and allowed.accepted and allowed.p <= allowed.level == LEVEL


def test_no_drift_is_recorded_as_such() -> None:
    result = check_drift(drifting("none"), "frames", allowed=True)
    assert result and not result.accepted and result.p > LEVEL


def test_constant_scores_do_not_drift() -> None:
    assert drift_of(np.ones(50)) == 1
    assert drift_of(np.ones(400)) == 1, "the orders come in several batches, as many in all"


def test_a_probability_is_never_zero() -> None:
    assert drift_of(np.arange(60.0)) == 1 / 5000


def test_too_few_parts_are_not_tested() -> None:
    assert check_drift(np.arange(7.0), "frames") is None


def test_a_thousand_parts_are_tested_in_little_memory() -> None:
    assert drift_of(np.arange(3000.0)) <= LEVEL


def test_frames_of_one_part_are_refused_with_how_many_show_it() -> None:
    rng = np.random.default_rng(5)
    scores = np.repeat(rng.normal(size=20), 8) + 0.1 * rng.normal(size=160)
    with pytest.raises(GateFailed, match=r"--frames-per-part \((\d+) or more") as refusal:
        check_independence(scores)
    assert 5 <= int(str(refusal.value).split("--frames-per-part (")[1].split()[0]) <= 12
    check_independence(rng.normal(size=160))
    check_independence(scores[::8])


def images(folder: Path, *names: str, seconds: float | None = None) -> list[Path]:
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.touch()
        os.utime(path, (1e9, 1e9 + (seconds or 0) * number))
    return paths


def test_numbers_in_names_order_images_that_were_copied_together(tmp_path: Path) -> None:
    paths = images(tmp_path, "part_10.png", "part_9.png", "part_100.png", seconds=0.01)
    order = time_order(paths)
    assert order and order[0] == "numbers in names"
    assert [path.name for path in order[1]] == ["part_9.png", "part_10.png", "part_100.png"]


def test_file_times_order_images_that_a_camera_took(tmp_path: Path) -> None:
    paths = images(tmp_path, "b.png", "a.png", "c.png", seconds=2)
    assert time_order(paths[::-1]) == ("file times", paths)


@pytest.mark.parametrize(
    "names", [("a.png", "b.png"), ("exp1_7.png", "exp2_9.png"), ("1.png", "1.jpg"), ("one.png",)]
)
def test_other_names_have_no_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert time_order(images(tmp_path, *names)) is None
