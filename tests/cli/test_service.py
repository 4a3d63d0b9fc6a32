from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.cli.service import unit_text
from tests.conftest import invoke

RUN = ("--camera", "top=0", "--engine", "draem.onnx", "-o", "line1")


def exec_start(unit: str) -> list[str]:
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    return shlex.split(line.partition("=")[2].replace("%%", "%").replace("$$", "$"))


def test_the_unit_runs_the_line_with_its_options() -> None:
    done = invoke("service", "--user", "line", "line1", *RUN)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "edge_ad", "run", *RUN, "--quiet"]
    assert exec_start(done.stdout) == command
    lines = done.stdout.splitlines()
    for line in ("Type=notify", "WatchdogSec=30", "Restart=on-failure", "User=line"):
        assert line in lines
    assert f"WorkingDirectory={Path.cwd()}" in lines
    assert "EnvironmentFile=-/etc/edge-ad/line1.env" in lines


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 424242)
    assert "User=424242" in invoke("service", "line1", *RUN).stdout.splitlines()


@pytest.mark.parametrize(("password", "warnings"), [("hunter2", 1), ("${FILE:/etc/pw}", 0)])
def test_a_password_that_everybody_could_read_is_warned_of(
    password: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    camera = f"top=rtsp://line:{password}@10.0.0.5/live"
    done = invoke("service", "line1", "--camera", camera, *RUN[2:])
    assert done.returncode == 0 and exec_start(done.stdout)[5] == camera
    shown = "top=rtsp://***@10.0.0.5/live: everybody on this computer can read"
    assert caplog.text.count(shown) == warnings


@pytest.mark.parametrize(
    "word", ["a b", "50%", "$HOME", 'say "no"', "back\\slash", "it's", "gst:v4l2src ! jpegdec", ""]
)
def test_any_option_arrives_as_it_was_given(word: str, tmp_path: Path) -> None:
    unit = unit_text("x", ["--camera", word], "line", tmp_path)
    assert exec_start(unit)[-3:-1] == ["--camera", word]


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "edge-ad-line1.service"
    unit.write_text(unit_text("line1", [*RUN, "--outlet", "file:50% $x.jsonl"], "root", tmp_path))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    problems = [line for line in done.stderr.splitlines() if unit.name in line]
    assert done.returncode == 0 and not problems, done.stderr


def test_json_has_the_unit_and_its_name() -> None:
    done = invoke("service", "--json", "line1", *RUN)
    record = json.loads(done.stdout)
    assert (record["type"], record["name"]) == ("service", "edge-ad-line1.service")
    assert "Type=notify" in record["unit"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("line 1", *RUN), "'line 1' is not a service name"),
        (("line1", *RUN, "--json"), "every frame to the journal"),
        (("line1", *RUN, "--show"), "--show is not for a service"),
        (("line1", *RUN, "--camra", "0"), "--camra"),
        (("line1", "--engine", "x.onnx", "--frames", "many"), "--frames"),
        (("line1", "--camera", "0\n1", "--engine", "x.onnx"), "line break"),
        (("line1",), "RUN-OPTIONS"),
    ],
)
def test_what_would_not_run_is_refused(words: tuple[str, ...], message: str) -> None:
    done = invoke("service", *words)
    assert done.returncode == 2
    assert message in done.stderr and "Type=notify" not in done.stdout
