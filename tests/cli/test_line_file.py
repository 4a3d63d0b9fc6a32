"""Line files: cameras with their own settings, all problems at once, the schema of editors."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_ad.store.store import Store
from edge_ad.strict_yaml import dump_yaml, parse_yaml
from tests.conftest import invoke
from tests.test_docs import PAGES

MakePath = Callable[..., Path]

_CAMERAS = """\
engine: green.onnx
alarm_k: 1
outlet: file:all.jsonl
quiet: true
cameras:
  - name: top
    source: top
    threshold: 2.0
    outlet: file:top.jsonl
  - name: side
    source: side
    alarm_n: 5
    outlet: [file:side.jsonl]
"""


@pytest.fixture
def folder(
    tmp_path: Path, make_engine: MakePath, make_folder: MakePath, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a folder with an engine and two folders of parts, the third of each with a spot."""
    make_engine()
    make_folder("top", 4, bright=(2,))
    make_folder("side", 4, bright=(2,))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # paths are relative to the file
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "line.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def problems(path: Path, *words: object) -> list[str]:
    """Return the problems that `--check` lists, with their lines and columns."""
    done = invoke("run", "-c", path, "--check", "--json", *words)
    assert done.returncode == 2, done.stdout
    listed: list[dict[str, Any]] = json.loads(done.stdout)["problems"]
    assert all(problem.get("file", str(path)) == str(path) for problem in listed)
    return [_text(problem).replace(str(path), "FILE") for problem in listed]


def _text(problem: dict[str, Any]) -> str:
    place = "FILE: line {line}, column {column}: ".format(**problem) if "line" in problem else ""
    return place + str(problem["message"])


def test_each_camera_has_its_own_threshold_rule_and_outlets(folder: Path) -> None:
    done = invoke("run", "-c", write(folder, _CAMERAS), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    rejected = {camera["camera"]: camera["rejected"] for camera in summary["cameras"]}
    assert rejected == {"top": 0, "side": 1}
    assert [event["camera"] for event in records(folder / "all.jsonl")] == ["side", "side"]
    assert records(folder / "side.jsonl") == records(folder / "all.jsonl")
    assert records(folder / "top.jsonl") == []


def test_a_camera_with_its_own_engine_takes_that_engines_threshold(
    folder: Path, make_engine: MakePath
) -> None:
    make_engine("other.onnx", threshold=2.0)
    text = (
        "engine: green.onnx\nthreshold: 0.1\ncameras: [a=top, {source: side, engine: other.onnx}]"
    )
    checked = json.loads(invoke("run", "-c", write(folder, text), "--check", "--json").stdout)
    assert [camera["threshold"] for camera in checked["cameras"]] == [0.1, 2.0]
    assert [len(engine["cameras"]) for engine in checked["engines"]] == [1, 1]


def test_cameras_share_an_engine_with_the_same_options_only(folder: Path) -> None:
    text = "engine: green.onnx\ncameras: [a=top, b=top, {source: side, name: c, threads: 1}]"
    checked = json.loads(invoke("run", "-c", write(folder, text), "--check", "--json").stdout)
    assert [engine["cameras"] for engine in checked["engines"]] == [["a", "b"], ["c"]]
    assert checked["engines"][1]["options"] == {"threads": 1}


def test_check_prints_what_would_run_and_starts_nothing(folder: Path) -> None:
    path = write(folder, _CAMERAS + "output: out\n")
    done = invoke("run", "-c", path, "--check")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^top .* 2 +the configuration +whole frame +1 of 3$", done.stdout, re.M)
    assert "file:" in done.stdout and "The line can start." in done.stdout
    assert not (folder / "out").exists() and not (folder / "top.jsonl").exists()


def test_check_says_where_every_reject_is_an_event(folder: Path) -> None:
    path = write(folder, _CAMERAS + "part: frame\n")
    done = invoke("run", "-c", path, "--check")
    assert len(re.findall(r" every reject$", done.stdout, re.M)) == 2, done.stdout
    result = json.loads(invoke("run", "-c", path, "--check", "--json").stdout)
    assert [camera["part"] for camera in result["cameras"]] == ["frame", "frame"]


def test_check_names_a_problem_once(folder: Path) -> None:
    text = "engine: green.onnx\ncameras: [{name: a, source: 'rtsp://u:${ENV:EDGE_AD_NONE}@h/x'}]\n"
    assert len(problems(write(folder, text))) == 1


def test_the_file_of_a_running_line_can_be_checked(folder: Path) -> None:
    (folder / "out").mkdir()
    path = write(folder, _CAMERAS + "output: out\n")
    with contextlib.closing(Store(folder / "out")):
        done = invoke("run", "-c", path, "--check")
        assert done.returncode == 0 and "where a line runs now" in done.stdout
        assert invoke("run", "-c", path).returncode == 2


def test_check_lists_every_problem_at_once(folder: Path) -> None:
    text = """\
engin: green.onnx
alarm_k: 0
threshold: high
threshold: 0.3
outlet: [files:all.jsonl]
cameras:
  - {name: top, source: nowhere, treshold: 0.9, output: x, engine: none.onnx}
  - {name: top, source: 'patern://', threads: -1}
  - third=rtsp://u:${ENV:EDGE_AD_NO_SUCH}@h/x
  - {name: no roi, roi: [1, 2, 3]}
  - [1]
  - {name: off, source: top, engine: green.onnx, roi: [0, 0, 640, 640]}
  - {name: rule, source: top, engine: green.onnx, alarm_k: 4}
"""
    found = "\n".join(problems(write(folder, text)))
    for message in (
        "No such key 'engin'. Did you mean 'engine'?",
        "alarm_k: 0 is not in the range 1<=x<=1000000",
        "duplicate key 'threshold', first given in line 3",
        "No such key 'treshold'. Did you mean 'threshold'?",
        "output is for the whole line",
        "a camera before is called 'top' too",
        "threads: -1 is not in the range",
        "this camera has no source",
        "camera 'no roi': that is not a valid name",
        "roi: expected x,y,width,height in pixels, like 80,0,640,480; got [1, 2, 3]",
        "is a mapping with source, or NAME=URI",
        "nowhere: no such file or folder",
        "FILE: line 7, column 5: no engine at",
        "unknown camera scheme 'patern:'. Did you mean pattern://?",
        "the environment has no variable EDGE_AD_NO_SUCH",
        "FILE: line 12, column 5: ",
        "an alarm needs k of n frames with 1 <= k <= n, got 4 of 3",
        "unknown outlet scheme 'files:'. Did you mean file:?",
    ):
        assert message in found, f"{message}\nnot in:\n{found}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cameras: {}\nengine: [1]", "cameras expects a list with a camera in it"),
        ("cameras: []", "cameras expects a list with a camera in it"),
        ("cameras: [{name: a}]", "this camera has no source"),
        ("engine: green.onnx\ncameras: [top, {name: a, source: }]", "this camera has no source"),
        ("engine: green.onnx\ncameras: [top, {name: a, source: ''}]", "this camera has no source"),
        ("engine: green.onnx\ncameras: [top, '']", "this camera has no source"),
        ("camera: top\ncameras: [side]\nengine: green.onnx", "camera and cameras exclude"),
        ("cameras: [[]]", "a camera in cameras is a mapping with source, or NAME=URI"),
    ],
)
def test_a_list_that_is_none_is_refused_by_check_and_run(
    folder: Path, text: str, message: str
) -> None:
    path = write(folder, text)
    assert any(message in problem for problem in problems(path))
    done = invoke("run", "-c", path)
    assert done.returncode == 2 and message in done.stderr


def test_a_run_lists_all_problems_of_its_file_with_their_places(folder: Path) -> None:
    path = write(folder, "engin: a\ncameras:\n  - {source: top, threshold: x}\n")
    done = invoke("run", "-c", path, "--json")
    listed = json.loads(done.stdout)["problems"]
    places = [(problem["line"], problem["column"]) for problem in listed]
    assert done.returncode == 2 and places == [(1, 1), (3, 19)]
    assert "2 problems:" in done.stderr and "line 3, column 19: threshold expects" in done.stderr


def test_a_run_that_cannot_open_its_line_lists_all_problems_too(folder: Path) -> None:
    """One for the whole line has no place; the cameras' have theirs."""
    text = "engine: green.onnx\nalarm_k: 5\nalarm_n: 3\ncameras:\n"
    text += "  - {source: top}\n  - {source: side, engine: none.onnx}\n"
    done = invoke("run", "-c", write(folder, text), "--json")
    listed = json.loads(done.stdout)["problems"]
    assert done.returncode == 2
    assert [problem.get("line") for problem in listed] == [None, 6]
    assert "1 <= k <= n" in listed[0]["message"] and "no engine at" in listed[1]["message"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", 1], "--threshold is ambiguous: .* top (FILE: line 8, column 5)"),
        (["--camera", 0], "--camera: the line file lists its cameras"),
        (["--alarm-n", 9], "--alarm-n is ambiguous: .* side"),
    ],
)
def test_an_option_that_cameras_set_for_themselves_is_ambiguous(
    folder: Path, words: list[object], message: str
) -> None:
    (found,) = problems(write(folder, _CAMERAS), *words)
    assert re.search(message.replace("(", r"\(").replace(")", r"\)"), found), found


def test_an_option_for_the_default_engine_is_ambiguous_beside_another(
    folder: Path, make_engine: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_engine("other.onnx")
    path = write(folder, "engine: green.onnx\ncameras: [top, {source: side, engine: other.onnx}]")
    monkeypatch.setenv("EDGE_AD_RUN_ROI", "0,0,9,9")
    (found,) = problems(path)
    assert "EDGE_AD_RUN_ROI is ambiguous" in found and "cameras set engine" in found


def test_options_change_the_defaults(folder: Path) -> None:
    words = ("run", "-c", write(folder, _CAMERAS), "--alarm-k", 3, "--check", "--json")
    checked = json.loads(invoke(*words).stdout)
    assert [camera["rule"]["k"] for camera in checked["cameras"]] == [3, 3]


def test_a_secret_never_appears(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    source = "rtsp://line:${ENV:CAMERA_PASSWORD}@127.0.0.1:1/stream"
    path = write(folder, f"engine: green.onnx\ncameras:\n  - {{name: top, source: '{source}'}}\n")
    for words in (["--check"], ["--print-config"], ["--require-cameras"]):
        done = invoke("run", "-c", path, *words)
        assert "hunter2" not in done.stdout + done.stderr
        assert done.returncode == (5 if words == ["--require-cameras"] else 0), done.stderr


def test_the_printed_configuration_is_a_line_file(folder: Path) -> None:
    first = invoke("run", "-c", write(folder, _CAMERAS), "--print-config").stdout
    path = write(folder, first)
    again = invoke("run", "-c", path, "--print-config").stdout
    assert parse_yaml(again) == parse_yaml(first)
    assert invoke("run", "-c", path, "--check").returncode == 0


def test_the_schema_knows_every_key_and_limit() -> None:
    schema = json.loads(invoke("run", "--schema").stdout)
    camera = schema["properties"]["cameras"]["items"]["anyOf"][1]
    assert {"name", "source", "roi", "threshold", "alarm_k", "outlet", "device"} <= set(
        camera["properties"]
    )
    assert schema["properties"]["alarm_k"] | {"description": ""} == {
        "type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 2, "description": "",
    }  # fmt: skip
    assert camera["additionalProperties"] is False and camera["required"] == ["source"]


def test_the_line_files_of_the_documentation_fit_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(invoke("run", "--schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    block = re.compile(r"^```yaml\n# line\.yaml\n(.*?)^```", re.M | re.S)
    found = [text for page in PAGES for text in block.findall(page.read_text("utf-8"))]
    assert len(found) > 1
    for text in found:
        assert [error.message for error in validator.iter_errors(parse_yaml(text))] == []
    for wrong in ("threshold: high", "cameras: [{name: a}]", "alarm_k: 0", "treshold: 1"):
        assert not validator.is_valid(parse_yaml(wrong)), wrong


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("roi", "80,0,640,480", True),
        ("roi", [80, 0, 640, 480], True),
        ("roi", "80,0,640", False),
        ("roi", "whole", False),
        ("roi", [80, 0, -1, 480], False),
        ("tiles", "3x4", True),
        ("tiles", [3, 4], True),
        ("tiles", "3x4x5", False),
        ("tiles", [3, 65], False),
        ("ignore", "0,0 90,0 -5,60", True),
        ("ignore", [[[0, 0], [90, 0], [0, 60]]], True),
        ("ignore", "0,0 90,0", False),
        ("name", "top-1", True),
        ("name", "top 1", False),
        ("name", "-top", False),
    ],
)
def test_editors_and_the_line_agree_on_a_camera(
    folder: Path, key: str, value: object, *, fits: bool
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(invoke("run", "--schema").stdout)
    text = dump_yaml(
        {"engine": "green.onnx", "cameras": [{"name": "a", "source": "0", key: value}]}
    )

    done = invoke("run", "-c", write(folder, text), "--print-config")

    assert (done.returncode == 0) is fits, done.stderr
    assert jsonschema.Draft202012Validator(schema).is_valid(parse_yaml(text)) is fits
