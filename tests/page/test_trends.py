"""Trends: charts that hold what was counted, two spans side by side, and odd stores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from edge_ad.page.chart import Mark, Series, draw_chart, time_labels
from edge_ad.store.event import EventType, StoreEvent, insert
from tests.page.served import ServedPage, served
from tests.store.weeks import DAY, at, writing

XSS = "<i>top</i>\"'"
LATENCY = json.dumps({"p50": 10.0, "p95": 12.0, "p99": 14.5, "max": 20.0})
HOUR = f"?span=1h&to={DAY}T07:00Z"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    folder = tmp_path_factory.mktemp("pages") / "line"
    with writing(folder) as line:
        for minute in range(10):
            about: dict[str, Any] = {
                "latency_ms": LATENCY,
                "brightness": 80.0 + minute,
                "sharpness": 5.0,
            }
            line.minute(f"06:{30 + minute}", [0.1] * 9 + [0.9], XSS, **about)
            line.minute(f"05:{30 + minute}", [0.1] * 20, XSS, **about)
        line.minute("06:30", [0.1] * 100, "side", dropped=7)
        event = StoreEvent(
            EventType.DRIFT, "new", "brightness", camera=XSS, reason=XSS, time_utc=at("06:35")
        )
        insert(line.connection, event)
        change = StoreEvent(
            EventType.SETTING, "set", "threshold", camera=XSS, old="0.5", new="0.6",
            who=XSS, time_utc=at("06:36"),
        )  # fmt: skip
        insert(line.connection, change)
    with served(folder) as page:
        yield page


def summary(text: str) -> dict[str, list[str]]:
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', text)
    return {name: re.findall(r'<td class="n">(.*?)</td>', cells) for name, cells in rows}


def test_a_span_is_summed_up_and_drawn(page: ServedPage) -> None:
    text = page.get(f"/trends{HOUR}&camera=%3Ci%3Etop%3C%2Fi%3E%22%27").text
    assert summary(text)["Parts"] == ["100"]
    assert summary(text)["Share rejected"] == ["10\u202f%"]
    assert summary(text)["Latency p99, slowest minute"] == ["14.5 ms"]
    for name in ("Share of rejected parts", "Scores", "Latency from capture", "Brightness"):
        assert f'aria-label="{name}' in text
    assert "threshold, 0.5 \u2192 0.6" in text.replace("Setting changed: ", "")


def test_the_scores_are_drawn_beside_their_threshold(page: ServedPage) -> None:
    text = page.get(f"/trends{HOUR}&camera=%3Ci%3Etop%3C%2Fi%3E%22%27").text
    assert text.count('<line class="level"') == 1  # the last that was set: no line runs
    assert '<line class="level"' not in page.get(f"/trends{HOUR}&camera=side").text


def test_two_spans_stand_side_by_side(page: ServedPage) -> None:
    text = page.get(f"/trends{HOUR}&compare=before").text
    assert summary(text)["Parts"] == ["200", "200"]
    assert summary(text)["Rejected"] == ["10", "0"]
    assert '<path class="other"' in text


def test_all_cameras_have_counts_but_no_scores(page: ServedPage) -> None:
    text = page.get(f"/trends{HOUR}").text
    assert summary(text)["Dropped"] == ["7"]
    assert 'aria-label="Scores"' not in text and "Scores are shown for one camera." in text


def test_names_and_reasons_are_text(page: ServedPage) -> None:
    text = page.get(f"/trends{HOUR}").text
    assert "<i>top" not in text and "&lt;i&gt;top" in text


def test_a_span_without_minutes_says_so(page: ServedPage, tmp_path: Path) -> None:
    assert "No minute of this span" in page.get(f"/trends?to={DAY}T01:00Z").text
    with writing(tmp_path / "line"), served(tmp_path / "line") as empty:
        assert "No minute of this span" in empty.get("/trends").text


@pytest.mark.parametrize(
    "query",
    [
        "?span=1y",
        "?camera=x",
        "?to=soon",
        "?compare=never",
        "?to=0001-01-01",
        "?to=9999-12-31",
        "?to=90000000w",
    ],
)
def test_what_is_no_span_is_refused(page: ServedPage, query: str) -> None:
    assert page.get(f"/trends{query}").status == 400


def test_a_line_has_gaps_where_nothing_was_measured() -> None:
    values: list[tuple[float, float | None]] = [(0, 1.0), (1, 2.0), (2, None), (4, 3.0), (5, 3.0)]
    chart = draw_chart([Series("main", values, 1)], (0, 10), str)
    assert [kind for kind, _ in chart.lines] == ["main", "main"]
    assert all(path.count("L") == 1 for _, path in chart.lines)
    alone = draw_chart([Series("main", [(5, 1.0)], 1)], (0, 10), str)
    assert alone.lines[0][1].count("L") == 1  # a dash, not nothing


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 0.0], ["0", "0.25", "0.5", "0.75", "1"]),
        ([3.0, 97.0], ["0", "25", "50", "75", "100"]),
        ([1e-7, 2e-7], ["0", "5e-08", "1e-07", "1.5e-07", "2e-07"]),
        ([7.0], ["0", "2", "4", "6", "8"]),
    ],
)
def test_axes_have_round_numbers(values: list[float], labels: list[str]) -> None:
    points = [(float(number), value) for number, value in enumerate(values)]
    chart = draw_chart([Series("main", points, 1)], (0, 10), "{:.3g}".format)
    assert [label for _, label in chart.grid] == labels


def test_values_that_hardly_differ_are_drawn_within_the_chart() -> None:
    chart = draw_chart([Series("main", [(0, 80.0), (1, 80.0)], 1)], (0, 2), str, from_zero=False)
    assert all(8 <= y <= 126 for y, _ in chart.grid) and len(chart.grid) < 8
    assert draw_chart([Series("main", [(0, None)], 1)], (0, 1), str).is_empty


def test_what_happened_is_marked_in_its_place_only() -> None:
    marks = [Mark(5, "drift", "dust"), Mark(50, "drift", "later")]
    chart = draw_chart([Series("main", [(0, 1.0)], 1)], (0, 10), str, marks=marks)
    assert [title for _, _, title in chart.marks] == ["dust"]


@pytest.mark.parametrize("minutes", [60, 480, 1440, 7 * 1440, 30 * 1440])
def test_times_are_labelled_a_few_times(minutes: int) -> None:
    labels = time_labels(28_000_000, 28_000_000 + minutes)
    assert 3 <= len(labels) <= 9
    assert all(28_000_000 <= minute <= 28_000_000 + minutes for minute, _ in labels)


@pytest.mark.usefixtures("german_time")
@pytest.mark.parametrize(
    ("begin", "hours", "labels"),
    [
        ("2026-10-24T00:00+02:00", 96, ["24.10.", "12:00", "25.10.", "12:00", "26.10."]),
        ("2026-10-23T12:00+02:00", 6 * 24, ["24.10.", "25.10.", "26.10.", "27.10.", "28.10."]),
        ("2026-03-29T00:30+01:00", 6, ["01:00", "03:00", "04:00", "05:00", "06:00"]),
        ("2026-10-25T00:30+02:00", 6, ["01:00", "02:00", "03:00", "04:00", "05:00"]),
    ],
)
def test_labels_stay_round_when_the_clocks_change(
    begin: str, hours: int, labels: list[str]
) -> None:
    since = datetime.fromisoformat(begin).timestamp() / 60

    result = time_labels(since, since + hours * 60)

    assert [label for _, label in result][:5] == labels
    assert [minute for minute, _ in result] == sorted({minute for minute, _ in result})
