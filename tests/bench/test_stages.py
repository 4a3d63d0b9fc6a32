"""What each stage costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_ad.bench.stages import gpu_bound, time_stages
from edge_ad.engine import ScriptedEngine
from edge_ad.engine.base import GpuTimes
from edge_ad.geometry import Geometry
from edge_ad.line.inspector import Thresholds

MakePath = Callable[..., Path]
STAGES = ["decode", "hand-over", "gate", "preprocess", "inference", "judge", "outlets", "store"]
THRESHOLDS = Thresholds(0.5, 0.5)


class GpuEngine(ScriptedEngine):
    """An engine that says what its GPU took."""

    gpu_times = GpuTimes(0.001, 0.002, 0.003)


def test_every_frame_goes_through_every_stage(make_folder: MakePath) -> None:
    folder = str(make_folder("parts", 5, bright=(1, 3)))
    times = time_stages(folder, ScriptedEngine(), THRESHOLDS, Geometry(), 100).seconds
    assert sorted(times) == sorted(STAGES)
    assert {stage: len(seconds) for stage, seconds in times.items()} == dict.fromkeys(STAGES, 5)
    assert all(seconds > 0 for samples in times.values() for seconds in samples)


def test_a_limit_ends_the_measurement(make_folder: MakePath) -> None:
    folder = str(make_folder("parts", 5))
    times = time_stages(folder, ScriptedEngine(), THRESHOLDS, Geometry(), 2).seconds
    assert len(times["judge"]) == 2


def test_a_gpus_own_times_are_separate(make_folder: MakePath) -> None:
    folder = str(make_folder("parts", 2))
    times = time_stages(folder, GpuEngine(), THRESHOLDS, Geometry(), 100).seconds
    assert times["upload"] == [1e-6] * 2 and times["download"] == [3e-6] * 2
    assert times["inference"] == [2e-6] * 2
    assert all(seconds > 0 for seconds in times["launch"])


@pytest.mark.parametrize(
    ("launch", "upload", "network", "download", "bound"),
    [
        (0.9, 0.1, 1.0, 0.1, "enqueue"),
        (0.7, 0.6, 1.0, 0.4, "transfer"),
        (0.7, 0.5, 1.0, 0.4, "compute"),
    ],
)
def test_what_bounds_a_gpu_is_named(
    launch: float, upload: float, network: float, download: float, bound: str
) -> None:
    names = ("launch", "upload", "inference", "download")
    times = zip(names, (launch, upload, network, download), strict=True)
    assert gpu_bound({name: [seconds] * 3 for name, seconds in times}) == bound
