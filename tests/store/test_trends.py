"""Trends: minutes added up into steps, and what may explain a change."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_ad.store import trends
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.statistics import score_bin
from edge_ad.store.trends import quantiles, read_trend, step_for
from tests.store.weeks import at, writing

LATENCY = json.dumps({"p50": 10.0, "p95": 12.0, "p99": 14.0, "max": 20.0})
SLOWER = json.dumps({"p50": 20.0, "p95": 30.0, "p99": 40.0, "max": 90.0})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with writing(tmp_path) as line:
        line.minute("06:00", [0.1] * 9 + [0.9], latency_ms=LATENCY, brightness=80.0, sharpness=4.0)
        line.minute("06:01", [0.2] * 10, latency_ms=SLOWER, brightness=90.0, dropped=3)
        line.minute("06:01", [0.2] * 10, invalid=2)  # the line started again
        line.minute("06:05", [0.1] * 4, camera="side")
        insert(line.connection, StoreEvent(EventType.LINE, step="start", time_utc=at("06:01")))
        drift = StoreEvent(EventType.DRIFT, step="new", kind="brightness", time_utc=at("06:05"))
        for camera in ("top", "side"):
            insert(line.connection, replace(drift, camera=camera))
    return tmp_path


def test_minutes_add_up_to_steps(folder: Path) -> None:
    trend = read_trend(folder, "top", at("06:00"), at("07:00"), 5)
    (point,) = trend.points
    assert (point.start, point.passed, point.rejected) == (at("06:00"), 29, 1)
    assert (point.invalid, point.dropped, point.judged) == (2, 3, 30)
    assert point.share == pytest.approx(1 / 30)
    assert (point.p50_ms, point.p99_ms, point.brightness) == (15.0, 40.0, 85.0)
    assert point.sharpness == 4.0
    assert point.scores == pytest.approx((0.2, 0.2, 0.9), rel=0.05)


def test_steps_begin_where_the_clock_does(folder: Path) -> None:
    trend = read_trend(folder, "top", at("06:00"), at("07:00"), 1)
    assert [point.start for point in trend.points] == [at("06:00"), at("06:01")]
    assert [point.judged for point in trend.points] == [10, 20]
    assert trend.total.judged == 30 and trend.total.p99_ms == 40.0


def test_all_cameras_together_have_counts_but_no_scores(folder: Path) -> None:
    trend = read_trend(folder, "", at("06:00"), at("07:00"), 60)
    assert [(point.judged, point.scores) for point in trend.points] == [(34, None)]
    assert [event["type"] for event in trend.events] == ["line", "drift", "drift"]


def test_a_camera_has_its_own_events_and_the_lines(folder: Path) -> None:
    trend = read_trend(folder, "top", at("06:00"), at("07:00"), 60)
    assert [(event["type"], event["camera"]) for event in trend.events] == [
        ("line", None),
        ("drift", "top"),
    ]


def test_a_minute_that_is_written_meanwhile_is_not_half_in_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = trends._point

    def write_between(row: Any, step: int) -> trends.TrendPoint:
        with writing(folder) as line:
            line.minute("06:30", [0.1])
        return convert(row, step)

    monkeypatch.setattr(trends, "_point", write_between)
    trend = read_trend(folder, "top", at("06:00"), at("07:00"), 5)
    assert [point.judged for point in trend.points] == [30]


def test_an_empty_span_is_empty(folder: Path) -> None:
    trend = read_trend(folder, "top", at("08:00"), at("09:00"), 1)
    assert trend.points == [] and trend.total.share is None


@pytest.mark.parametrize(("minutes", "step"), [(60, 1), (480, 5), (1440, 15), (10_080, 120)])
def test_a_span_has_a_step_that_a_chart_can_show(minutes: int, step: int) -> None:
    assert step_for(minutes) == step


def test_quantiles_are_those_of_the_scores_to_a_bin() -> None:
    scores = [0.01 * number for number in range(1, 101)]
    half, ninety, most = quantiles(Counter(map(score_bin, scores)))
    assert (half, ninety, most) == pytest.approx((0.5, 0.9, 0.99), rel=0.05)
