"""`edge-ad events`: list, filter, follow, export, acknowledge and mark."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from edge_ad.cli.events import command
from edge_ad.event import AlarmKind
from edge_ad.inspection import Region
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.store import Store
from tests.conftest import invoke

SPOT = Region(20, 8, 12, 12, 144, 0.98, (26, 14))


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """Return a folder with the events 1 to 6 of a line with two cameras."""
    with Store(tmp_path) as store:
        store.record(reject("top", 1, "2026-11-27T06:00:00.000+00:00"))
        store.record(reject("side", 2, "2026-11-28T06:00:00.000+00:00"))
        for step in ("new", "end"):
            store.record(
                StoreEvent(EventType.ALARM, step=step, kind="defect", alarm="a-1", camera="top")
            )
    return tmp_path


def reject(camera: str, part: int, when: str) -> StoreEvent:
    return StoreEvent(
        EventType.REJECT, camera=camera, part=part, time_utc=when, score=0.9, threshold=0.5,
        verdict="REJECT", regions=(SPOT,),
    )  # fmt: skip


def listed(*words: object) -> list[dict[str, Any]]:
    done = invoke("events", *words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


def test_every_type_of_event_can_be_asked_for() -> None:
    (types,) = (param for param in command.params if param.name == "types")
    assert isinstance(types.type, click.Choice)
    assert {event.value for event in EventType} | {kind.value for kind in AlarmKind} == set(
        types.type.choices
    )


def test_every_event_has_number_type_camera_and_time(line: Path) -> None:
    events = listed(line)
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event["camera"] for event in events] == [None, "top", "side", "top", "top", None]
    assert all(event["time_utc"].endswith("+00:00") for event in events)
    assert len({event["id"] for event in events}) == 6
    assert events[1]["regions"][0]["width"] == 12 and events[1]["part"] == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--camera", "side"], [3]),
        (["--camera", "side", "--camera", "top", "--type", "reject"], [2, 3]),
        (["--type", "defect"], [4, 5]),
        (["--since", "2026-11-28T00:00Z", "--type", "reject"], [3]),
        (["--until", "2026-11-28T00:00Z"], [2]),
        (["--type", "reject", "--limit", "1"], [3]),
        (["--limit", "0"], []),
        (["--since", "1s", "--camera", "side"], []),
    ],
)
def test_filters(line: Path, words: list[str], expected: list[int]) -> None:
    assert [event["seq"] for event in listed(line, *words)] == expected


def test_a_list_without_events_says_so(line: Path) -> None:
    done = invoke("events", line, "--type", "drift")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no such events\n")
    assert invoke("events", line, "--type", "drift", "--json").stderr == ""


def test_a_table_runs_nothing_in_a_spreadsheet(tmp_path: Path) -> None:
    texts = ("=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "plain = text, with a comma")
    with Store(tmp_path) as store:
        for text in texts:
            store.record(StoreEvent(EventType.ACK, who=text, reason=text, score=-0.5, old="-1"))
    table = csv.DictReader(io.StringIO(invoke("events", tmp_path, "--csv", "--type", "ack").stdout))
    rows = list(table)
    for column in ("who", "reason"):
        assert [row[column] for row in rows] == [*(f"'{text}" for text in texts[:-1]), texts[-1]]
    assert {(row["score"], row["old"]) for row in rows} == {("-0.5", "-1")}


def test_csv_has_every_column(line: Path) -> None:
    table = list(csv.DictReader(io.StringIO(invoke("events", line, "--csv").stdout)))
    assert [row["seq"] for row in table] == ["1", "2", "3", "4", "5", "6"]
    assert json.loads(table[1]["regions"])[0]["x"] == 20 and table[0]["camera"] == ""


def test_a_part_that_is_a_file_is_listed_with_its_name(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.record(replace(reject("top", 7, "2026-11-27T06:00:00.000+00:00"), file="ring 7.png"))
    assert "part 7  ring 7.png  score 0.9 / 0.5" in invoke("events", tmp_path).stdout


def test_what_is_json_is_json_in_a_table_too(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.record(StoreEvent(EventType.SETTING, kind="rule", old='{"k": 2}', new='{"k": 3}'))
        store.record(StoreEvent(EventType.SETTING, kind="paused", old="false", new="true"))
    table = list(csv.DictReader(io.StringIO(invoke("events", tmp_path, "--csv").stdout)))
    assert [json.loads(table[at]["new"]) for at in (1, 2)] == [{"k": 3}, True]


def test_what_others_wrote_gives_a_terminal_no_commands(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.record(StoreEvent(EventType.ALARM, camera="top", reason="\x1b[2Jno\nline \u202eof"))
    assert "  ?[2Jno line ?of\n" in invoke("events", tmp_path, "--type", "alarm").stdout


def test_notes_are_events_and_shown_at_the_alarm(line: Path) -> None:
    assert invoke("events", line, "--ack", "2", "--who", "anna").returncode == 0
    done = invoke("events", line, "--mark", "a-1", "--as", "false-alarm", "--note", "oil")
    assert done.stdout.startswith("a-1: marked as false-alarm by "), done.stderr
    events = {event["seq"]: event for event in listed(line)}
    assert events[2]["acknowledged"] == "anna" and "acknowledged" not in events[3]
    assert events[4]["marked"] == events[5]["marked"] == "false-alarm"
    assert (events[7]["type"], events[7]["refers"], events[7]["camera"]) == ("ack", 2, "top")
    assert (events[8]["step"], events[8]["reason"]) == ("false-alarm", "oil")
    shown = invoke("events", line).stdout.splitlines()
    assert shown[1].endswith("[acknowledged]") and shown[4].endswith("[false-alarm]")


def test_notes_are_all_written_or_none(line: Path) -> None:
    done = invoke("events", line, "--ack", "2", "--ack", "999")
    assert done.returncode == 2 and "no event '999'" in done.stderr
    assert len(listed(line)) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mark", "2"], "needs --as"),
        (["--as", "real"], "--as has no effect without"),
        (["--ack", "2", "--since", "1h"], "--since has no effect without a list"),
        (["--csv", "--json"], "exclude each other"),
        (["--since", "yesterday"], "'yesterday' is not a time. Expected an age"),
        (["--type", "rejects"], "'rejects' is not one of"),
        (["--camera", "topp"], "no record of a camera 'topp'. Cameras: side, top."),
        (["--since", "2026-11-28", "--until", "2026-11-27"], "does not lie before"),
    ],
)
def test_mistakes_are_answered(line: Path, words: list[str], message: str) -> None:
    done = invoke("events", line, *words)
    assert done.returncode == 2 and message in done.stderr, done.stderr


def test_a_folder_without_a_line_is_answered(tmp_path: Path) -> None:
    done = invoke("events", tmp_path)
    assert done.returncode == 2 and "has no line.db" in done.stderr
    (tmp_path / "line.db").write_bytes(b"")
    assert "no line has begun to write it" in invoke("events", tmp_path).stderr
    (tmp_path / "line.db").write_bytes(b"x" * 5000)
    assert "is not a database" in invoke("events", tmp_path).stderr


def test_a_running_line_is_followed(line: Path) -> None:
    words = [sys.executable, "-m", "edge_ad", "events", str(line), "--follow", "--json"]
    with subprocess.Popen(
        [*words, "--limit", "1", "--type", "reject", "--camera", "top", "--camera", "later"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None and following.stderr is not None
        assert "'later'. Cameras: side, top. Waiting for it." in following.stderr.readline()
        assert json.loads(following.stdout.readline())["seq"] == 2
        with Store(line) as store:
            store.record(reject("top", 3, "2026-11-28T07:00:00.000+00:00"))
            assert json.loads(following.stdout.readline())["part"] == 3
            assert invoke("events", line, "--ack", "2").returncode == 0
        following.kill()
