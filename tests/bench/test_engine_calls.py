"""Timing an engine's calls, and the energy they take."""

from __future__ import annotations

import pytest

from edge_ad.bench.engine_calls import fastest, measure_energy, random_batch, time_engine
from edge_ad.engine import ScriptedEngine


class Meter:
    """A meter that counts ten joules a reading."""

    name = "board"

    def __init__(self) -> None:
        self.read = 0

    def joules(self) -> float:
        self.read += 1
        return 10.0 * self.read


def test_energy_is_divided_by_the_images() -> None:
    engine = ScriptedEngine()
    (figures,) = measure_energy(engine, random_batch(engine, 2), [Meter()], 0.01)
    assert figures["of"] == "board"
    assert figures["joules_per_image"] == pytest.approx(10 / (2 * engine.calls), rel=1e-3)


def test_calls_are_measured_in_windows() -> None:
    engine = ScriptedEngine()
    windows = time_engine(engine, [random_batch(engine)], warmup_s=0, duration_s=0.03, at_most=4)
    assert 3 <= len(windows.calls) <= 4
    assert 1 + sum(map(len, windows.calls)) == engine.calls


@pytest.mark.parametrize(
    ("times", "winner"),
    [
        ({"fp32": 1.0, "fp16": 0.99, "int8": 0.97}, "fp32"),
        ({"fp32": 1.0, "fp16": 0.90, "int8": 0.89}, "fp16"),
        ({"fp32": 1.0, "int8": 0.5}, "int8"),
    ],
)
def test_a_simpler_precision_wins_unless_another_is_clearly_faster(
    times: dict[str, float], winner: str
) -> None:
    assert fastest(times, 0.05) == winner  # type: ignore[arg-type]
