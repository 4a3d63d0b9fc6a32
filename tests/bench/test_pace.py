"""Latency at a fixed rate, with its own clock."""

from __future__ import annotations

import pytest

from edge_ad.bench.pace import Clock, run_at_rate
from edge_ad.frame import Frame
from tests.conftest import part_image

FRAMES = [Frame(part_image(seed=seed), seed, 0.0, "parts") for seed in range(3)]


class Line:
    """A line whose frames take the given seconds, and the clock that it moves."""

    def __init__(self, *takes: float) -> None:
        self.now_s, self.takes, self.indices = 100.0, list(takes), list[int]()
        self.clock = Clock(lambda: self.now_s, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def __call__(self, frame: Frame) -> None:
        self.now_s += self.takes[len(self.indices) % len(self.takes)]
        self.indices.append(frame.index)


def test_a_line_that_keeps_up_has_the_latency_of_a_frame() -> None:
    line = Line(0.02)
    run = run_at_rate(line, FRAMES, 10, 1.0, line.clock)
    assert run.latency_s == pytest.approx([0.02] * 10)
    assert run.kept_up and line.indices == [0, 1, 2] * 3 + [0]


def test_a_stall_counts_for_every_frame_that_waited() -> None:
    line = Line(0.35, *[0.01] * 9)
    run = run_at_rate(line, FRAMES, 10, 1.0, line.clock)
    assert run.latency_s[:5] == pytest.approx([0.35, 0.26, 0.17, 0.08, 0.01])
    assert run.kept_up


def test_a_line_that_is_too_slow_is_stopped_and_said_to_be() -> None:
    line = Line(0.5)
    run = run_at_rate(line, FRAMES, 10, 3600.0, line.clock)
    assert not run.kept_up
    assert len(run.latency_s) < 20 and max(run.latency_s) > 4
