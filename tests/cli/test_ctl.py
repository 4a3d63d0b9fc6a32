"""`edge-ad ctl` against lines on objects, and against one real process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_ad.cli.output import FolderClaim
from edge_ad.store.lock import is_locked
from tests.conftest import invoke
from tests.control.lines import RunningLine, wait_for
from tests.timing import LIMIT_S

MakePath = Callable[..., Path]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningLine]:
    with RunningLine(tmp_path, "top", "side") as line:
        yield line


def ctl(running: RunningLine, *words: object) -> str:
    done = invoke("ctl", running.folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_threshold_is_set_and_set_back(running: RunningLine) -> None:
    text = ctl(running, "threshold", 2, "--camera", "top", "--reason", "new varnish")
    assert text.startswith("top: threshold 0.5 -> 2 by ") and text.endswith(": new varnish\n")
    assert "2 by hand" in ctl(running, "state")
    assert "threshold 2 -> 0.5 (undo)" in ctl(running, "threshold", "--undo", "--camera", "top")
    done = invoke("ctl", running.folder, "threshold", "--undo", "--camera", "top")
    assert done.returncode == 2 and "there is nothing to undo" in done.stderr


def test_a_rule_is_changed(running: RunningLine) -> None:
    words = ("rule", "--camera", "side", "--alarm-k", 1, "--hysteresis", 0.2)
    assert "2 of 3, hysteresis 0.1 -> 1 of 3, hysteresis 0.2" in ctl(running, *words)
    assert "1 of 3, hysteresis 0.2 by hand" in ctl(running, "state")
    assert "-> 2 of 3, hysteresis 0.1 (undo)" in ctl(running, "rule", "--undo", "--camera", "side")


def test_cameras_are_paused_and_resumed(running: RunningLine) -> None:
    assert ctl(running, "pause", "--all").count("paused by") == 2
    assert "paused is so already" in ctl(running, "pause", "--camera", "top")
    assert "paused is so already" in ctl(running, "pause", "top")
    state = json.loads(ctl(running, "state", "--json"))
    assert [camera["state"] for camera in state["cameras"]] == ["paused", "paused"]
    answer = json.loads(ctl(running, "resume", "--camera", "top", "--json"))
    assert answer["type"] == "settings" and answer["settings"][0]["new"] is False


def test_alarms_are_acknowledged(running: RunningLine) -> None:
    running.judge("top", "RR")
    wait_for(lambda: running.events("alarm"))
    alarm = running.events("alarm")[0]["alarm"]
    assert f"{alarm}: acknowledged by" in ctl(running, "ack", alarm)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["threshold"], "threshold takes one VALUE"),
        (["threshold", "high", "--camera", "top"], "threshold: 'high' is not a number."),
        (
            ["threshold", "0,5", "--camera", "top"],
            "threshold: '0,5' is not a number. Write it with a point.",
        ),
        (["threshold", "nan", "--camera", "top"], "is not a number"),
        (["threshold", 1, "--undo", "--camera", "top"], "threshold --undo takes no value"),
        (["threshold", 1], "which camera? The line has: top, side"),
        (["threshold", 1, "--camera", "tpo"], "no camera 'tpo'"),
        (["rule", "--camera", "top"], "rule takes --alarm-k"),
        (["rule", "--camera", "top", "--alarm-k", 9], "1 <= k <= n, got 9 of 3"),
        (["pause", "--all", "--camera", "top"], "--all and --camera exclude each other"),
        (["state", "--camera", "top"], "--camera has no effect with state"),
        (["pause", "top", "--camera", "top"], "'top' and --camera or --all exclude each other"),
        (["pause", "top", "side"], "pause takes one camera, got top side"),
        (["pause", "--undo"], "--undo has no effect with pause"),
        (["ack"], "ack takes one ID or more"),
        (["trigger", "--camera", "top"], "no software trigger"),
        (["stat"], "'stat' is not one of"),
    ],
)
def test_what_makes_no_sense_is_refused(
    running: RunningLine, words: list[object], message: str
) -> None:
    done = invoke("ctl", running.folder, *words)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert running.events("setting", "control") == []


def test_a_folder_without_a_running_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.control.client._CLAIMED_WITHIN_S", 0.0)
    done = invoke("ctl", tmp_path, "state")
    assert done.returncode == 2 and "has no line.db" in done.stderr
    with RunningLine(tmp_path, "top"):
        pass
    done = invoke("ctl", tmp_path, "state", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["exit"] == 1
    assert "no line runs in" in done.stderr


def test_a_line_that_has_just_been_started_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.control.client._STARTS_WITHIN_S", 0.05)
    monkeypatch.setattr("edge_ad.control.client._CLAIMED_WITHIN_S", LIMIT_S)
    folder = tmp_path / "new" / "out"
    claims: list[FolderClaim] = []
    starting = threading.Timer(0.1, lambda: claims.append(FolderClaim(folder)))
    starting.start()
    done = invoke("ctl", folder, "state")
    starting.join()
    assert done.returncode == 1 and f"the line in {folder} is still starting" in done.stderr
    for verb in ("events", "drift", "sheet"):
        assert f"the line in {folder} is still starting" in invoke(verb, folder).stderr
    claims[0].give_up()
    assert list(tmp_path.iterdir()) == []


def test_a_line_may_start_between_two_looks_at_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims: list[FolderClaim] = []

    def claimed_after_the_look(folder: Path) -> bool:
        was_locked = is_locked(folder)
        if not claims:
            claims.append(FolderClaim(folder))
        return was_locked

    monkeypatch.setattr("edge_ad.control.client._STARTS_WITHIN_S", 0.0)
    monkeypatch.setattr("edge_ad.control.client.is_locked", claimed_after_the_look)
    done = invoke("ctl", tmp_path / "out", "state")
    claims[0].give_up()
    assert done.returncode == 1 and "is still starting" in done.stderr


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge_ad", "run", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def changes(text: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if record["type"] == "setting"]


@pytest.mark.slow
def test_a_process_is_controlled_killed_and_started_again(
    make_engine: MakePath, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    words = ("--camera", "top=pattern://?fps=20", "--engine", make_engine(), "-o", folder, "--json")
    with start(*words) as running:
        wait_for(lambda: invoke("ctl", folder, "state").returncode == 0)
        done = invoke("ctl", folder, "threshold", 0.9, "--reason", "varnish")
        assert done.returncode == 0, done.stderr
        assert "pause" in invoke("ctl", folder, "pause").stdout
        running.kill()
        out, _ = running.communicate()
    assert [change["new"] for change in changes(out)] == [0.9, True]
    with start(*words) as again:
        wait_for(lambda: invoke("ctl", folder, "state").returncode == 0)
        state = json.loads(invoke("ctl", folder, "state", "--json").stdout)["cameras"][0]
        assert (state["threshold"], state["state"], state["frames"]) == (0.9, "paused", 0)
        again.send_signal(signal.SIGTERM)
        out, err = again.communicate()
    assert again.returncode == 0 and "the threshold is 0.9, set by" in err and "is paused" in err
    assert {change["step"] for change in changes(out)} == {"kept"}
    assert not (folder / "control.sock").exists()
