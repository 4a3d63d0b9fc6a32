"""What another threshold would have rejected, against judging every score again."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.notes import mark
from edge_ad.store.what_if import ScoreHistory, WhatIf, span_before, what_if
from tests.store.weeks import Writer, at, writing

SPAN = (at("06:00"), at("07:00"))


def history(folder: Path) -> ScoreHistory:
    return ScoreHistory.read(folder, "top", *SPAN)


def asked(folder: Path, threshold: float) -> WhatIf:
    return what_if(history(folder), threshold)


def inspect(line: Writer, clock: str, scores: list[float], threshold: float = 0.5) -> None:
    """Write a minute as a line does: each reject, then the statistics."""
    for score in scores:
        if score > threshold:
            line.reject(clock, score, threshold=threshold)
    line.minute(clock, scores, threshold=threshold)


def test_the_answer_holds_what_judging_again_gives(tmp_path: Path) -> None:
    draw = random.Random(1)
    scores = [draw.lognormvariate(-1, 0.6) for _ in range(600)]
    with writing(tmp_path) as line:
        for minute in range(10):
            inspect(line, f"06:{minute:02d}", scores[60 * minute : 60 * minute + 60])
    read = history(tmp_path)
    assert read.judged == 600
    for threshold in [0.01, *(draw.uniform(0.1, 3) for _ in range(300)), 0.5]:
        judged_again = sum(score > threshold for score in scores)
        answer = what_if(read, threshold)
        assert answer.least <= judged_again <= answer.most
        assert answer.most - answer.least <= 0.1 * 600  # parts in one bin
        assert answer.is_exact or threshold < 0.5


def test_no_threshold_moves_without_a_part_that_says_so(tmp_path: Path) -> None:
    with writing(tmp_path) as line:
        inspect(line, "06:00", [0.1, 0.49, 0.51, 0.9])
    assert asked(tmp_path, 0.5).rejected == 2
    assert (asked(tmp_path, 0.5).least, asked(tmp_path, 0.5).most) == (2, 2)
    assert (asked(tmp_path, 0.51).least, asked(tmp_path, 0.51).most) == (1, 1)  # at it passes
    assert (asked(tmp_path, 0.9).least, asked(tmp_path, 0.05).most) == (0, 4)


def test_a_minute_whose_rejects_were_deleted_is_known_to_a_bin(tmp_path: Path) -> None:
    with writing(tmp_path) as line:
        inspect(line, "06:00", [0.1, 0.8, 0.8])
        line.connection.execute("DELETE FROM events WHERE seq = 1")
        inspect(line, "06:01", [0.1, 0.9])
    assert (asked(tmp_path, 0.6).least, asked(tmp_path, 0.6).most) == (3, 3)
    assert (asked(tmp_path, 0.8).least, asked(tmp_path, 0.8).most) == (1, 3)


def test_a_threshold_that_was_higher_leaves_passed_parts_above_the_lower_one(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as line:
        inspect(line, "06:00", [0.6, 0.9], threshold=0.5)
        inspect(line, "06:01", [0.6, 0.65, 0.9], threshold=0.8)
    answer = asked(tmp_path, 0.5)
    assert (answer.rejected, answer.least, answer.most) == (3, 5, 5)


def test_a_threshold_that_was_tried_for_a_moment_leaves_the_rest_exact(tmp_path: Path) -> None:
    with writing(tmp_path) as line:
        for minute in range(4):
            inspect(line, f"06:0{minute}", [0.1, 0.498, 0.499, 0.9])
        tried = StoreEvent(EventType.SETTING, "set", "threshold", camera="top", old="0.5", new="2")
        back = replace(tried, step="undo", old="2", new="0.5", time_utc=at("06:02:30"))
        insert(line.connection, replace(tried, time_utc=at("06:02:20")))
        insert(line.connection, back)
        inspect(line, "06:04", [0.1, 0.498, 0.499, 0.9])
    answer = asked(tmp_path, 0.5)
    assert (answer.judged, answer.rejected) == (20, 5)
    assert (answer.least, answer.most) == (5, 7)  # two passed in the bin, in that one minute


def test_the_minute_under_way_and_other_cameras_do_not_count(tmp_path: Path) -> None:
    with writing(tmp_path) as line:
        inspect(line, "06:00", [0.1, 0.9])
        line.reject("06:01", 0.9)
        line.minute("06:00", [0.9], camera="side")
        line.minute("07:00", [0.9])
    answer = asked(tmp_path, 0.3)
    assert (answer.judged, answer.rejected, answer.least, answer.most) == (2, 1, 1, 1)


def test_marked_parts_escape_or_are_spared(tmp_path: Path) -> None:
    with writing(tmp_path) as line:
        inspect(line, "06:00", [0.1, 0.6, 0.7, 0.8])
        line.alarm("06:00:30", "new", score=0.7, part=2, peak_part=2)
        line.alarm("06:00:40", "end", score=0.75, part=2, peak_part=2)
    mark(tmp_path, ["1"], "real", "ann")
    mark(tmp_path, ["3"], "real", "ann")
    mark(tmp_path, ["3"], "false-alarm", "bob")
    mark(tmp_path, ["a-1"], "real", "ann")
    answer = asked(tmp_path, 0.72)
    assert [part.seq for part in answer.escapes] == [1]  # the alarm reached 0.75
    assert (answer.spared, answer.marked_real, answer.marked_false) == ([], 2, 1)
    higher = asked(tmp_path, 0.8)
    assert [part.score for part in higher.escapes] == [0.6, 0.75]
    assert [part.seq for part in higher.spared] == [3]


def test_a_line_without_minutes_has_no_answer_but_zero(tmp_path: Path) -> None:
    with writing(tmp_path):
        pass
    answer = asked(tmp_path, 0.5)
    assert (answer.judged, answer.least, answer.most) == (0, 0, 0)


@pytest.mark.parametrize("threshold", [-0.2, 0.0])
def test_scores_below_zero_are_counted_too(tmp_path: Path, threshold: float) -> None:
    scores = [-0.9, -0.3, -0.1, 0.2]
    with writing(tmp_path) as line:
        inspect(line, "06:00", scores, threshold=-0.5)
    answer = asked(tmp_path, threshold)
    assert answer.least == answer.most == sum(score > threshold for score in scores)


def test_a_span_is_so_many_minutes() -> None:
    assert span_before(at("07:00"), 60) == (at("06:00"), at("07:00"))
