"""A file of JSON lines that people move and delete while a line runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.jsonl import JsonFile, Kept
from edge_ad.setting import Setting, SettingChange, SettingStep


@pytest.fixture
def log(tmp_path: Path) -> Iterator[JsonFile]:
    (tmp_path / "out").mkdir()
    with closing(JsonFile(tmp_path / "out" / "log.jsonl")) as outlet:
        yield outlet


def write(log: JsonFile, frame: int) -> None:
    log.inspected(Inspection(Verdict.PASS, 0.1, 0.5, frame=frame), Evidence())


def frames(path: Path) -> list[int]:
    return [json.loads(line)["frame"] for line in path.read_text().splitlines()]


def test_a_file_that_is_moved_goes_on_in_a_new_one(log: JsonFile, tmp_path: Path) -> None:
    path, old = tmp_path / "out" / "log.jsonl", tmp_path / "yesterday.jsonl"
    write(log, 0)
    path.rename(old)
    write(log, 1)
    write(log, 2)
    assert (frames(old), frames(path)) == ([0], [1, 2])
    path.unlink()
    write(log, 3)
    assert frames(path) == [3]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (Kept.BOTH, ["PASS", "REJECT", "INVALID", "alarm", "setting"]),
        (Kept.ALARMS, ["reject", "alarm", "setting"]),
        (Kept.ALL, ["PASS", "REJECT", "INVALID"]),
        (Kept.REJECTS, ["REJECT"]),
    ],
)
def test_a_file_has_what_it_is_for(tmp_path: Path, kept: Kept, expected: list[str]) -> None:
    with closing(JsonFile(tmp_path / "log.jsonl", kept=kept)) as log:
        for verdict in Verdict:
            score = float("nan") if verdict is Verdict.INVALID else 0.5
            inspection = Inspection(verdict, score, 0.5, camera="top")
            log.inspected(inspection, Evidence())
            if verdict is Verdict.REJECT:
                log.rejected(inspection, Evidence())
        log.alarmed(
            AlarmEvent(AlarmStep.NEW, "a", AlarmKind.DEFECT, "uri", 1, 1, 1, 0.9, 0.5), Evidence()
        )
        log.setting_changed(
            SettingChange("top", Setting.THRESHOLD, SettingStep.SET, 0.5, 0.6, "anna")
        )
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    shown = [r["verdict"] if r["type"] == "inspection" else r["type"] for r in records]
    assert shown == expected


def test_records_for_a_folder_that_is_gone_are_errors_until_it_is_back(
    log: JsonFile, tmp_path: Path
) -> None:
    write(log, 0)
    shutil.rmtree(tmp_path / "out")
    for frame in (1, 2):
        with pytest.raises(FileNotFoundError):
            write(log, frame)
    (tmp_path / "out").mkdir()
    write(log, 3)
    assert frames(tmp_path / "out" / "log.jsonl") == [3]
