"""`edge-ad run` as a user types it: its output, its files, its exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import invoke
from tests.timing import LIMIT_S

MakePath = Callable[..., Path]
EDGE_AD = (sys.executable, "-m", "edge_ad")


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def parts(make_folder: MakePath) -> Path:
    return make_folder("parts", 12, bright=(4, 5, 6))


def test_json_output_is_inspections_alarms_and_a_final_summary(
    make_engine: MakePath, parts: Path
) -> None:
    done = invoke("run", "--camera", parts, "--engine", make_engine(), "--json")
    assert done.returncode == 0, done.stderr
    records = lines(done)
    kinds = [record["type"] for record in records]
    assert kinds.count("inspection") == 12 and kinds[-1] == "summary"
    fifth = next(r for r in records if r["type"] == "inspection" and r["frame"] == 4)
    keys = {"frame", "source", "score", "threshold", "verdict", "regions"}
    assert keys <= set(fifth) and fifth["verdict"] == "REJECT" and fifth["threshold"] == 0.5
    alarms = [r for r in records if r["type"] == "alarm" and r["kind"] == "defect"]
    assert [record["event"] for record in alarms] == ["new", "end"]
    assert len({record["id"] for record in alarms}) == 1
    summary = records[-1]
    assert (summary["frames"], summary["rejected"], summary["alarms"]) == (12, 3, 1)
    assert set(summary["latency_ms"]) == {"p50", "p95", "p99", "max"}


def test_the_output_folder_holds_log_image_sheet_and_summary(
    make_engine: MakePath, parts: Path, tmp_path: Path
) -> None:
    words = ("run", "--camera", parts, "--engine", make_engine(), "-o", tmp_path / "out")
    done = invoke(*words)
    assert done.returncode == 0, done.stderr
    assert "ALARM new" in done.stdout and "alarms     1" in done.stdout
    out = tmp_path / "out"
    images = [out / "evidence" / f"part-{part:08d}.jpg" for part in (5, 6, 7)]
    assert sorted((out / "evidence").iterdir()) == images
    assert (out / "contact-sheet.jpg").stat().st_size > 1000
    summary = json.loads((out / "summary.json").read_text())
    assert summary["alarms"] == 1 and summary["part"] == "stream"
    assert summary["evidence"] == {"written": 3, "lost": 0, "deleted": 0}
    assert sorted(path.name for path in out.iterdir()) == [
        "contact-sheet.jpg", "drift", "evidence", "line.db", "line.lock", "summary.json",
    ]  # fmt: skip
    assert invoke(*words, "--quiet", "--log-inspections", "all").returncode == 0
    assert len(list((out / "evidence").glob("*.jpg"))) == 6
    log = [json.loads(line) for line in (out / "inspections.jsonl").read_text().splitlines()]
    assert [record["part"] for record in log] == list(range(13, 25))
    assert invoke(*words, "--quiet", "--overwrite", "--log-inspections", "rejects").returncode == 0
    assert sorted((out / "evidence").iterdir()) == images
    log = [json.loads(line) for line in (out / "inspections.jsonl").read_text().splitlines()]
    assert [(record["part"], record["verdict"]) for record in log] == [
        (part, "REJECT") for part in (5, 6, 7)
    ]


def test_records_and_lines_name_the_camera(
    make_engine: MakePath, parts: Path, tmp_path: Path
) -> None:
    words = ("run", "--camera", f"top={parts}", "--engine", make_engine())
    records = lines(invoke(*words, "--json"))[:-1]
    assert {record["camera"] for record in records} == {"top"}
    assert all(record["time_utc"].endswith("+00:00") for record in records)
    assert [r["part"] for r in records if r["type"] == "inspection"] == list(range(1, 13))
    assert "top  ALARM new" in invoke(*words).stdout


def test_a_folder_with_other_files_is_refused_and_left_alone(
    make_engine: MakePath, parts: Path
) -> None:
    before = sorted(parts.iterdir())
    done = invoke("run", "--camera", parts, "--engine", make_engine(), "-o", parts)
    assert done.returncode == 2 and "--overwrite" in done.stderr
    assert sorted(parts.iterdir()) == before


def test_an_outlet_receives_the_alarms(make_engine: MakePath, parts: Path, tmp_path: Path) -> None:
    outlet = f"file:{tmp_path / 'alarms.jsonl'}"
    done = invoke("run", "--camera", parts, "--engine", make_engine(), "--outlet", outlet)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (tmp_path / "alarms.jsonl").read_text().splitlines()]
    assert [(record["type"], record["event"], record["kind"]) for record in records] == [
        ("alarm", "new", "defect"),
        ("alarm", "new", "reject_rate"),
        ("alarm", "end", "defect"),
        ("alarm", "end", "reject_rate"),
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--camera", "PARTS", "--engine", "none.onnx"], 2, "no engine at none.onnx"),
        (["--camera", "none.mp4", "--engine", "ENGINE"], 5, "no such file"),
        (["--camera", "97", "--engine", "ENGINE", "--require-cameras"], 5, "97"),
        (
            [
                "--camera",
                "PARTS",
                "--engine",
                "ENGINE",
                "--roi",
                "0,0,9999,9999",
                "--threshold",
                "1",
            ],
            2,
            "64x64",
        ),
        (["--camera", "PARTS", "--engine", "ENGINE", "--roi", "left"], 2, "x,y,width,height"),
        (["--camera", "PARTS", "--engine", "ENGINE", "--tiles", "0x3"], 2, "rows x columns"),
        (["--camera", "PARTS", "--engine", "ENGINE", "--alarm-k", "5"], 2, "5 of 3"),
        (
            ["--camera", "PARTS", "--engine", "ENGINE", "--part", "frame", "--alarm-k", "1"],
            2,
            "--alarm-k has no effect with --part frame",
        ),
        (["--camera", "PARTS", "--engine", "ENGINE", "-o", "/proc/none"], 6, "/proc/none"),
        (["--engine", "ENGINE"], 2, "--camera"),
        (
            ["--camera", "a b=PARTS", "--engine", "ENGINE"],
            2,
            "camera 'a b' in 'a b=PARTS': that is not a valid name",
        ),
        (["--camera", "a=0", "--camera", "a=1", "--engine", "ENGINE"], 2, "2 cameras are called"),
        (["--camera", "PARTS", "--engine", "ENGINE", "--log-inspections", "all"], 2, "-o DIR"),
        (["--camera", "PARTS", "--engine", "ENGINE", "--outlet", "fil:a"], 2, "Did you mean file:"),
        (
            ["--camera", "PARTS", "--engine", "ENGINE", "--outlet", "file:/no/a"],
            6,
            "cannot be opened",
        ),
        (["--camera", "PARTS", "--engine", "ENGINE", "--thresold", "1"], 2, "--threshold"),
    ],
)
def test_a_mistake_is_answered_in_one_paragraph(
    make_engine: MakePath, parts: Path, words: list[str], code: int, message: str
) -> None:
    names = {"PARTS": str(parts), "ENGINE": str(make_engine())}
    done = invoke("run", *[names.get(word, word) for word in words])
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_an_unreadable_image_is_invalid_and_all_of_them_an_error(
    make_engine: MakePath, parts: Path, tmp_path: Path
) -> None:
    (parts / "003.png").write_bytes(b"")
    done = invoke("run", "--camera", parts, "--engine", make_engine(), "--json")
    assert done.returncode == 0, done.stderr
    record = lines(done)[3]
    assert (record["verdict"], record["score"], record["file"]) == ("INVALID", None, "003.png")
    for image in parts.iterdir():
        image.write_bytes(b"")
    done = invoke("run", "--camera", parts, "--engine", make_engine())
    assert done.returncode == 5 and "none of the 12 images" in done.stderr


def test_errors_are_json_with_json(make_engine: MakePath) -> None:
    done = invoke("run", "--camera", "none.mp4", "--engine", make_engine(), "--json")
    (record,) = lines(done)
    assert record["type"] == "error" and record["exit"] == done.returncode == 5


def test_options_override_the_configuration_file(
    make_engine: MakePath, parts: Path, tmp_path: Path
) -> None:
    config = tmp_path / "line.yaml"
    config.write_text(
        f"camera: [{parts}]\nengine: {make_engine()}\nthreshold: 2.0\nroi: [0, 0, 64, 32]\n"
        "ignore: [[[0, 0], [4, 0], [0, 4]]]\nquiet: true\n"
    )
    done = invoke("run", "-c", config, "--json")
    assert done.returncode == 0, done.stderr
    assert lines(done)[-1]["rejected"] == 0
    assert lines(invoke("run", "-c", config, "--json", "--threshold", 0.5))[-1]["rejected"] == 3
    shown = invoke("run", "-c", config, "--threshold", 0.5, "--print-config").stdout
    assert "threshold: 0.5  # flag" in shown
    assert "alarm_k: 2  # default" in shown
    assert "# file" in next(line for line in shown.splitlines() if line.startswith("engine"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camra: 0", "Did you mean 'camera'?"),
        ("- 1", "expected 'key: value'"),
        ("a: [", "not valid YAML"),
        ("alarm_k: many", "alarm_k expects a whole number"),
    ],
)
def test_a_bad_configuration_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "line.yaml"
    config.write_text(text)
    done = invoke("run", "-c", config, "--camera", "0", "--engine", "a.onnx")
    assert done.returncode == 2 and message in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("camera", "number", "code"),
    [
        ("pattern://?fps=20&width=64&height=48", signal.SIGINT, 130),
        ("pattern://?fps=20&width=64&height=48", signal.SIGTERM, 0),
        ("v4l2:///dev/video987", signal.SIGTERM, 0),  # stopping a service is no failure of it
    ],
)
def test_a_signal_finishes_with_the_summary(
    make_engine: MakePath, camera: str, number: signal.Signals, code: int
) -> None:
    words = ("run", "--camera", camera, "--engine", make_engine(), "--json")
    with subprocess.Popen(
        [*EDGE_AD, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        running.send_signal(number)
        out, err = running.communicate(timeout=LIMIT_S)
    assert first.startswith('{"type": "inspection"'), err
    assert running.returncode == code, err
    assert json.loads(out.splitlines()[-1])["type"] == "summary"


def run_with_room(room: int, *words: object) -> subprocess.CompletedProcess[str]:
    """Limit the size of files: the kernel refuses what a full disk would refuse."""
    limited = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({room},) * 2); "
        "sys.argv = ['edge-ad', *sys.argv[1:]]; runpy.run_module('edge_ad', run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", limited, *map(str, words)],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def test_a_full_disk_is_reported_and_every_frame_is_judged(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path
) -> None:
    parts = make_folder("parts", 100, bright=tuple(range(100)))
    words = ("run", "--camera", parts, "--engine", make_engine(), "-o", tmp_path / "o", "--quiet")
    done = run_with_room(120_000, *words)
    assert "frames     100  (judged 100" in done.stdout, done.stderr
    assert done.returncode == 6 and "records were lost" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_cannot_be_made_refuses_the_start_and_leaves_nothing(
    make_engine: MakePath, parts: Path, tmp_path: Path
) -> None:
    words = ("run", "--camera", parts, "--engine", make_engine(), "-o", tmp_path / "a" / "o")
    done = run_with_room(100, *words)
    assert done.returncode == 6 and "line.db: cannot be written" in done.stderr
    assert not (tmp_path / "a").exists()


def test_show_without_a_display_is_an_error(
    make_engine: MakePath, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    done = invoke("run", "--camera", parts, "--engine", make_engine(), "--show")
    assert done.returncode == 2 and "--show needs a display" in done.stderr


def test_show_with_a_headless_opencv_names_its_replacement(
    parts: Path, make_engine: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  GUI:                NONE\n\n")
    done = invoke("run", "--camera", parts, "--engine", make_engine(), "--show")
    assert done.returncode == 3 and "--show needs an OpenCV with windows" in done.stderr
    assert "pip install opencv-python" in done.stderr
