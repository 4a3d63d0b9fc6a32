"""`edge-ad report` and `edge-ad sheet`, on the folder of a line that still runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_ad.clock import parse_time
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.images import read_image
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.evidence import EvidenceFolder
from edge_ad.outlet.history import History
from edge_ad.preprocess import AnomalyMap
from edge_ad.setting import Setting, SettingChange, SettingStep
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.settings import setting_event
from edge_ad.store.statistics import bin_score, score_bin
from edge_ad.store.store import Store
from tests.conftest import invoke
from tests.store.weeks import writing

IMAGE = np.full((64, 64, 3), 90, np.uint8)


def inspection(verdict: Verdict, camera: str, minute: int) -> Inspection:
    score = 0.9 if verdict is Verdict.REJECT else 0.1
    return Inspection(
        verdict, float("nan") if verdict is Verdict.INVALID else score, 0.5, camera=camera,
        part=minute, time_utc=f"2026-11-28T06:{minute:02d}:30.000+00:00", latency_s=0.02,
    )  # fmt: skip


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Path]:
    """Write 10 minutes of a line with one alarm, and close it after the test."""
    folder = tmp_path / "line <1>"
    folder.mkdir()
    drops = {"top": 7}
    history, evidence = History(Store(folder), lambda: drops), EvidenceFolder(folder / "evidence")
    seen = Evidence(IMAGE, AnomalyMap(np.ones((32, 32), np.float32), (0, 0), (2, 2)))
    for minute in range(10):
        verdict = (Verdict.PASS, Verdict.REJECT, Verdict.INVALID)[max(0, minute - 7)]
        for outlet in (history, evidence):
            outlet.inspected(inspection(verdict, "top", minute), seen)
    history.inspected(inspection(Verdict.PASS, "side", 10), Evidence(IMAGE))
    when = "2026-11-28T06:09:30.000+00:00"
    alarm = AlarmEvent(
        AlarmStep.NEW, "a-1", AlarmKind.DEFECT, "uri", 1, 1, 1, 0.9, 0.5, camera="top",
        part=9, peak_part=8, time_utc=when,
    )  # fmt: skip
    history.alarmed(alarm, seen)
    evidence.close()
    yield folder
    history.close()


SPAN = ("--since", "2026-11-28T06:00Z", "--until", "2026-11-28T07:00Z")


def test_a_shift_is_one_page_with_images(line: Path, tmp_path: Path) -> None:
    page = tmp_path / "shift.html"
    done = invoke("report", line, *SPAN, "-o", page, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    counts = {"passed": 8, "rejected": 1, "invalid": 1, "dropped": 7, "p99_ms": 20.0}
    assert record["cameras"] == {"top": counts} and (record["alarms"], record["rejects"]) == (1, 1)
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 1, "alarm and part share an image"
    assert "Rejected parts: 1</h2>" in text and "<td>top<td>8<td><td>0.9 / 0.5<td><td>2" in text
    assert "line &lt;1&gt;" in text
    assert "<td>open<td>top<td>defect<td>9<td>0.9 / 0.5" in text
    assert not re.search(r"<script|https?://", text), "the page needs nothing else"
    assert invoke("report", line, *SPAN, "-o", page, "--images", "0").returncode == 0
    assert "base64" not in page.read_text(encoding="utf-8")


def test_a_shift_without_parts_says_so(line: Path, tmp_path: Path) -> None:
    span = ("--since", "2026-11-27T06:00Z", "--until", "2026-11-27T07:00Z")
    done = invoke("report", line, *span, "-o", tmp_path / "shift.html")
    assert "0 parts, 0 rejected, alarms: 0" in done.stdout, done.stderr
    assert "No part was inspected" in (tmp_path / "shift.html").read_text(encoding="utf-8")


def test_what_happened_to_the_line_itself_is_listed_with_who_and_why(tmp_path: Path) -> None:
    change = SettingChange(
        "top", Setting.THRESHOLD, SettingStep.SET, 0.5, 0.6, "anna <x>", "new varnish"
    )
    with writing(tmp_path / "line") as line:
        for event in (
            setting_event(change),
            StoreEvent(EventType.CONTROL, camera="top", who="ben", reason="no such camera"),
            StoreEvent(EventType.OUTLET_FAULT, "new", source="mqtt://hall", reason="gone"),
            StoreEvent(EventType.RETENTION, reason="older than 9 days", count=12),
        ):
            insert(line.connection, replace(event, time_utc="2026-11-28T06:09:30.000+00:00"))
    page = tmp_path / "shift.html"
    done = invoke("report", tmp_path / "line", *SPAN, "-o", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "<h2>The line itself: 4</h2>" in text
    for cells in (
        "<td>setting<td>set<td><td>top: threshold 0.5 -&gt; 0.6, by anna &lt;x&gt;: new varnish",
        "<td>control<td><td><td>ben: no such camera",
        "<td>outlet_fault<td>new<td><td>mqtt://hall: gone",
        "<td>retention<td><td>12<td>older than 9 days",
    ):
        assert cells in text, text


def test_the_chart_of_a_shift_has_a_bar_for_each_step_with_parts(tmp_path: Path) -> None:
    with writing(tmp_path / "line") as line:
        line.minute("06:00", [0.1] * 8 + [0.9] * 2)
        line.minute("06:02", [0.1] * 6 + [0.9] * 4)
        line.minute("06:08", [0.1] * 10)
    page = tmp_path / "shift.html"
    assert invoke("report", tmp_path / "line", *SPAN, "-o", page).returncode == 0
    text = page.read_text(encoding="utf-8")
    assert "<h2>Rejected parts, every 2 min; highest 40.00%</h2>" in text
    bars = re.findall(r"<rect x=(\d+) y=([\d.]+) width=(\d+) height=([\d.]+)>", text)
    wide = int(bars[1][0])
    assert [int(x) for x, *_ in bars] == [0, wide, 4 * wide] and 0 < int(bars[0][2]) < wide
    assert [float(height) for *_, height in bars] == [50.0, 100.0, 0.0]
    assert [float(y) for _, y, *_ in bars] == [50.0, 0.0, 100.0]
    assert f"<svg width={5 * wide} height=100>" in text
    below = re.search(r"</svg>\n<p>(.*) to (.*)</p>", text)
    assert below and [parse_time(end)[11:16] for end in below.groups()] == ["06:00", "06:10"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-o", "a.pdf"], 2, "ends in .html"),
        (["-o", "a.html", "--since", "1h", "--until", "2h"], 2, "does not lie before"),
        (["-o", "/proc/none/a.html"], 6, "cannot be written"),
    ],
)
def test_mistakes_are_answered(line: Path, words: list[str], code: int, message: str) -> None:
    done = invoke("report", line, *words)
    assert done.returncode == code and message in done.stderr, done.stderr


def test_the_sheet_is_drawn_while_the_line_runs(line: Path, tmp_path: Path) -> None:
    done = invoke("sheet", line, "-o", tmp_path / "sheet.jpg")
    assert done.returncode == 0 and read_image(tmp_path / "sheet.jpg").shape[1] == 480
    (line / "evidence" / "part-00000008.jpg").unlink()
    done = invoke("sheet", line)
    assert done.returncode == 2 and "no part was rejected yet" in done.stderr


@pytest.mark.parametrize("score", [0.0, 0.001, 0.717, 12.5, -3.0, 1e9])
def test_bins_hold_scores_of_any_size(score: float) -> None:
    assert bin_score(score_bin(score)) == pytest.approx(score, rel=0.06, abs=1e-5)


def test_bins_hold_infinite_scores() -> None:
    assert score_bin(float("inf")) == -score_bin(float("-inf")) > score_bin(1e20)
