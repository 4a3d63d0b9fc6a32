"""MLPerf's scenarios: figures, and when they are not by its rules."""

from __future__ import annotations

import pytest

from edge_ad.bench.scenarios import early_stopping, run_scenario
from edge_ad.engine import ScriptedEngine


def test_early_stopping_discards_what_the_appendix_says() -> None:
    """With 64 queries or fewer there is no estimate of a 90th percentile (appendix, table)."""
    assert early_stopping([0.001] * 63, 0.9) is None
    assert early_stopping([float(number) for number in range(1, 65)], 0.9) == 64
    many = [float(number) for number in range(1, 24_577)]
    estimate = early_stopping(many, 0.9)
    assert estimate is not None and 0.9 < estimate / len(many) < 0.906


@pytest.mark.parametrize(
    ("scenario", "figure"),
    [
        ("single-stream", "p90_estimate_ms"),
        ("multi-stream", "p99_estimate_ms"),
        ("offline", "images_per_s"),
    ],
)
def test_a_short_run_is_not_by_the_rules(scenario: str, figure: str) -> None:
    result, calls = run_scenario(scenario, ScriptedEngine(), 0.01)  # type: ignore[arg-type]
    assert figure in result and result["valid"] is False and calls
    assert result["invalid_because"][0] == "ran 0 of 600 s"


def test_multi_stream_asks_for_eight_images_a_query() -> None:
    shapes = set[tuple[int, ...]]()
    engine = ScriptedEngine((8, 8), lambda image: image[:, :, 0])  # type: ignore[arg-type,return-value]
    infer = engine.infer

    def noted(batch):  # type: ignore[no-untyped-def]
        shapes.add(batch.shape)
        return infer(batch)

    engine.infer = noted  # type: ignore[method-assign]
    run_scenario("multi-stream", engine, 0.005)
    assert shapes == {(8, 8, 8, 3)}
