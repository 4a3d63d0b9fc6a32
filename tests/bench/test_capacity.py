"""The most streams that fit, and what stops the next one."""

from __future__ import annotations

import json

import pytest

from edge_ad.bench.capacity import Trial, binding_limit, find_capacity, run_trial
from edge_ad.bench.replay import Replay
from edge_ad.engine import ScriptedEngine
from edge_ad.frame import Frame
from edge_ad.geometry import Geometry
from edge_ad.line.inspector import Thresholds
from tests.conftest import part_image


def trial(streams: int, **changes: float | None) -> Trial:
    figures = {"frames": 100, "dropped": 0, "p99_ms": 5.0, "processor": 0.5, "engine": 0.5}
    return Trial(streams, **(figures | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("holds", [0, 1, 2, 3, 7, 8, 9, 100])
def test_the_largest_number_that_fits_is_found(holds: int) -> None:
    tried: list[int] = []

    def attempt(streams: int) -> Trial:
        tried.append(streams)
        return trial(streams, dropped=int(streams > holds))

    found = find_capacity(attempt, 10.0)
    assert found.streams == holds and len(set(tried)) == len(tried)
    assert "dropped" in found.limit


def test_a_machine_without_an_end_has_no_limit() -> None:
    found = find_capacity(trial, 10.0, most=16)
    assert (found.streams, found.limit) == (16, "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dropped": 3}, "3 of 103 frames dropped at 4 streams; neither"),
        ({"p99_ms": 20.0, "engine": 0.97}, "20.0 ms at 4 streams, limit 10 ms; the engine is busy"),
        ({"p99_ms": 20.0, "processor": 0.99}, "all cores are busy 99% of the time"),
        ({"p99_ms": 20.0, "processor": 0.1, "others": 0.85}, "other programs took 85% of all"),
        ({"p99_ms": 20.0, "processor": 0.1, "others": 0.4}, "neither engine nor processor is busy"),
    ],
)
def test_the_limit_that_binds_is_named(changes: dict[str, float], said: str) -> None:
    assert said in binding_limit(trial(4, **changes), 10.0)


def test_a_trial_without_a_verdict_does_not_fit() -> None:
    found = find_capacity(lambda streams: trial(streams, frames=0, p99_ms=None), 1e9)
    assert found.streams == 0 and "no frame had its verdict in time at 1 stream;" in found.limit
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["trials"][0]["p99_ms"] is None


def test_without_a_verdict_a_trial_has_no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.bench.replay.ReplayedLine.latency_s", lambda line: [])
    replay = Replay([_part(0)], ScriptedEngine(), Thresholds(2.0, 2.0), Geometry())
    assert run_trial(replay, 100.0, 0.1, streams=1).p99_ms is None


def test_streams_run_through_a_real_line() -> None:
    frames = [_part(seed) for seed in range(4)]
    replay = Replay(frames, ScriptedEngine(), Thresholds(2.0, 2.0), Geometry())
    done = run_trial(replay, 100.0, 0.3, streams=3)
    assert done.streams == 3 and done.frames > 3 and done.p99_ms is not None
    assert 0 < done.engine < 1 and done.others >= 0


def _part(seed: int) -> Frame:
    return Frame(part_image(seed=seed), seed, 0.0, "parts")
