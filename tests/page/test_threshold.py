"""The threshold view: what another one would have done, the guarantee's words, and setting it."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_ad.control.client import request
from edge_ad.control.state import guarantee
from edge_ad.manifest import Escapes, ImageReference, Threshold
from edge_ad.page.histogram import Axis, draw_histogram
from edge_ad.page.numbers import grouped, localised, percent
from edge_ad.page.person import Person, Role
from edge_ad.page.texts import read_texts
from edge_ad.page.threshold import guarantee_text
from edge_ad.store.notes import mark
from edge_ad.store.statistics import score_bin
from edge_ad.store.what_if import MarkedPart, ScoreHistory, ScoreSpan
from tests.control.lines import RunningLine
from tests.page.served import ServedPage, served
from tests.store.weeks import writing

XSS = "<b>top</b>\"'&"
ENGLISH = read_texts("en")
STORED = Threshold(
    image=0.5, pixel=0.5, false_alarm_rate=0.001, confidence=0.95, images=6000, parts=3000,
    escapes=Escapes(count=3, images=100, low=0.01, high=0.08, kind="synthetic"),
    reference=ImageReference(
        size_hw=(10, 10), count=3000, brightness=(1.0,) * 21, sharpness=(1.0,) * 21,
        score=tuple(0.02 * number for number in range(21)),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    """Serve a line that has ended, with 100 parts in the last minute, of which 10 were rejected."""
    folder = tmp_path_factory.mktemp("pages") / "line"
    scores = [0.1] * 90 + [0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    with writing(folder) as line:
        for camera in ("top", XSS):
            for score in scores[90:]:
                line.reject("06:00", score, camera)
            line.minute("06:00", scores, camera)
    mark(folder, ["1"], "real", "ann")
    mark(folder, ["2"], "false-alarm", "ann")
    with served(folder) as page:
        yield page


def cells(text: str) -> list[list[str]]:
    """Return the rows of the answer's table as texts."""
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', text)
    return [re.sub(r"<[^>]+>", "|", row).replace("\u202f", "").split("|") for row in rows]


def numbers(text: str) -> list[str]:
    return [cell for cell in cells(text)[0] if cell]


def test_another_threshold_says_what_it_would_have_rejected(page: ServedPage) -> None:
    text = page.get("/api/what-if?camera=top&threshold=0.95").text
    assert numbers(text) == ["last hour", "100", "10", "10%", "6", "6%"]
    assert "1 of 1 parts marked as real would have passed" in text
    assert "1 of 1 parts marked as false alarms would have passed" in text
    assert '<a href="/events/1">' in text and "1.9 times the present one" in text
    lower = page.get("/api/what-if?camera=top&threshold=0.1").text
    assert numbers(lower)[-2:] == ["10 to 100", "10% to 100%"]


def test_the_page_shows_the_present_threshold_first(page: ServedPage) -> None:
    text = page.get("/threshold?camera=top").text
    assert "the present one" in text and numbers(text)[-2:] == ["10", "10%"]
    assert "No line runs here, so that nothing can be set." in text
    assert text.count('<path class="real"') == 1 and text.count('<rect class="above"') == 10


def test_a_place_on_the_slider_is_a_threshold_that_is_said(page: ServedPage) -> None:
    text = page.get("/api/what-if?camera=top&position=204.93").text
    (value,) = re.findall(r'data-value="([^"]+)"', text)
    assert float(value) == pytest.approx(0.717, rel=0.01) and len(value) <= 6
    assert 'data-position="204.9' in text


@pytest.mark.parametrize(
    "query",
    ["threshold=x", "threshold=nan", "position=inf", "threshold=1e999", "camera=nobody",
     "threshold=0,5"],
)  # fmt: skip
def test_what_is_no_threshold_is_refused(page: ServedPage, query: str) -> None:
    answer = page.get(f"/api/what-if?camera=top&{query}")
    assert answer.status == 400 and answer.json["error"]


@pytest.mark.parametrize("value", ["1e308", "-1e308", "0", "1e-300", "-0.5"])
def test_any_finite_number_is_an_answer(page: ServedPage, value: str) -> None:
    assert page.get(f"/api/what-if?camera=top&threshold={value}").status == 200
    assert page.get(f"/api/what-if?camera=top&position={value}").status == 200
    assert page.get(f"/threshold?camera=top&threshold={value}").status == 200


def test_a_cameras_name_is_text(page: ServedPage) -> None:
    text = page.get("/threshold?camera=%3Cb%3Etop%3C%2Fb%3E%22%27%26").text
    assert "<b>top" not in text and "&lt;b&gt;top" in text


def test_a_line_without_scores_says_so(tmp_path: Path) -> None:
    with writing(tmp_path / "a"):
        pass
    with served(tmp_path / "a") as page:
        assert "No camera of this line" in page.get("/threshold").text
    with writing(tmp_path / "b") as line:
        line.reject("06:00")
    with served(tmp_path / "b") as page:
        assert "No whole minute" in page.get("/threshold").text


def test_setting_and_undoing_reach_the_line_with_name_and_reason(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as line, served(tmp_path) as page:
        line.judge("top", "R")
        values = {"camera": "top", "threshold": "2.5", "reason": "new varnish"}
        (change,) = page.post("/threshold", values).json["settings"]
        assert (change["old"], change["new"]) == (0.5, 2.5)
        assert line.judge("top", "R") == ["PASS"]  # the next frame
        undo = {"camera": "top", "reason": "it was dust"}
        assert page.post("/threshold/undo", undo).json["settings"][0]["new"] == 0.5
        events = [(event["who"], event["reason"]) for event in line.events("setting")]
        assert [reason for _, reason in events] == ["new varnish", "it was dust"]
        assert all(who.startswith("anna (through ") for who, _ in events)
        assert page.post("/threshold/undo", undo).status == 409  # nothing left to undo


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"camera": "top", "threshold": 1}, 400),
        ({"camera": "top", "threshold": 1, "reason": "  "}, 400),
        ({"camera": "top", "threshold": "high", "reason": "x"}, 400),
        ({"camera": "top", "threshold": 1, "reason": "x" * 501}, 400),
        ({"camera": "top", "threshold": 1, "reason": "x"}, 503),  # no line runs
    ],
)
def test_a_change_that_cannot_be_made_says_why(
    page: ServedPage, values: dict[str, Any], status: int
) -> None:
    answer = page.post("/threshold", values)
    assert answer.status == status and answer.json["error"]


def test_an_operator_does_not_set_it(tmp_path: Path) -> None:
    with writing(tmp_path) as line:
        line.minute("06:00", [0.1])
    with served(tmp_path, local=Person("ben", Role.OPERATOR)) as page:
        values = {"camera": "top", "threshold": 1, "reason": "x"}
        assert page.post("/threshold", values).status == 403
        assert page.post("/threshold/undo", values).status == 403


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            0.5,
            "at most 0.1\u202f% of normal parts are rejected (3,000 parts were measured). 3 of 100",
        ),
        (0.6, "That holds above the stored threshold 0.5 as well"),
        (0.33, "does not hold. 15\u202f% to 20\u202f% of the normal images"),
        (-1.0, "does not hold. 100\u202f% to 100\u202f%"),
    ],
)
def test_the_guarantee_is_said_for_each_threshold(asked: float, expected: str) -> None:
    assert expected in guarantee_text(ENGLISH, guarantee(STORED), asked)


def test_without_a_guarantee_none_is_said() -> None:
    assert "not known here" in guarantee_text(ENGLISH, None, 0.5)
    by_image = STORED.replace(by="image", folds=5, escapes=None)
    words = guarantee_text(ENGLISH, guarantee(by_image), 0.5)
    assert "of normal images" in words and "an estimate" in words


def test_numbers_are_written_as_people_read_them() -> None:
    german = read_texts("de")
    assert [localised(german, value) for value in (0.71702, 12345678.0, 1e-5)] == [
        "0,717", "12350000", "0,00001"
    ]  # fmt: skip
    assert (grouped(german, 1234567), grouped(ENGLISH, 12)) == ("1.234.567", "12")
    shown = [percent(ENGLISH, share) for share in (0.0, 1.0, 0.99999, 0.001, 0.1234, None)]
    assert shown == ["0\u202f%", "100\u202f%", "99.9\u202f%", "0.1\u202f%", "12.3\u202f%", "-"]


def histogram(threshold: float, scores: dict[float, int]) -> dict[str, Any]:
    """Draw counts of scores with a mark at each."""
    bins = Counter({score_bin(score): count for score, count in scores.items()})
    marked = [MarkedPart(1, "", score, "real", 1, "") for score in scores]
    span = ScoreSpan(sum(scores.values()), 0, bins, [], bins, frozenset({threshold}))
    history = ScoreHistory([span], marked)
    return draw_histogram(ENGLISH, Axis.around(bins, threshold), history, threshold)


@pytest.mark.parametrize("threshold", [0.5, 12.0, -3.0])
def test_a_histogram_has_every_score_at_its_place(threshold: float) -> None:
    scores = {threshold / 2: 1, threshold: 9, threshold * 2: 99}
    drawn = histogram(threshold, scores)
    bars, present = drawn["bars"], drawn["present"]
    below, own, above = bars if threshold > 0 else bars[::-1]
    for bar, marked in zip((below, own, above), drawn["marks"], strict=True):
        assert bar["x"] - 0.2 <= marked["x"] <= bar["x"] + bar["width"] + 0.2, (
            "a mark is in its bar"
        )
        assert bar["x"] >= 0 and bar["x"] + bar["width"] <= drawn["width"]
        assert bar["y"] + bar["height"] == pytest.approx(drawn["height"])
    assert present == drawn["marks"][1]["x"]
    assert below["height"] < own["height"] < above["height"] == drawn["height"]
    assert own["height"] == pytest.approx(below["height"] * math.log(10) / math.log(2), rel=0.01)
    right = [bar["x"] > present for bar in bars]
    assert [bar["above"] for bar in bars] == right


def test_the_labels_of_a_histogram_are_multiples_of_the_threshold() -> None:
    drawn = histogram(0.5, {0.125: 1, 0.5: 1, 2.0: 1})
    places = {label["text"]: label["x"] for label in drawn["labels"]}
    assert list(places) == [f"{times} \u00d7" for times in ("0.25", "0.5", "1", "2", "4")]
    marks = [marked["x"] for marked in drawn["marks"]]
    assert [x for x in places.values() if x in marks] == marks
    ends = [label["x"] for label in histogram(-3.0, {-6.0: 1, -1.5: 1})["labels"]]
    assert len(ends) == 2 and 0 <= ends[0] < 10 and drawn["width"] - 10 < ends[1] <= drawn["width"]


def test_the_view_of_a_running_line_says_what_its_threshold_guarantees(tmp_path: Path) -> None:
    with writing(tmp_path) as before:
        before.reject("06:00", 0.9)
        before.minute("06:00", [0.1] * 9 + [0.9])
    with RunningLine(tmp_path, "top") as line, served(tmp_path) as page:
        line.line.cameras[0].stored = STORED
        text = page.get("/threshold?camera=top").text
    assert guarantee_text(ENGLISH, guarantee(STORED), 0.5) in html.unescape(text)


def test_the_state_of_the_line_has_the_guarantee(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as line:
        line.line.cameras[0].stored = STORED
        (camera,) = request(tmp_path, {"command": "state"})["cameras"]
    assert camera["guarantee"] == {
        "threshold": 0.5, "rate": 0.001, "confidence": 0.95, "by": "part", "parts": 3000,
        "estimate": False, "assumed": False,
        "escapes": {"count": 3, "images": 100, "kind": "synthetic"},
        "scores": list(STORED.reference.score) if STORED.reference else None,
    }  # fmt: skip
