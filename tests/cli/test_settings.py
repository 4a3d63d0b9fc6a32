"""Options from files and variables: what wins, how values are read, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_ad.strict_yaml import parse_yaml
from tests.conftest import invoke

BASE = "camera: parts\nengine: a.onnx\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("line.yaml")
    path.write_text(BASE, encoding="utf-8")
    return path


def merged(config: Path, *words: object) -> dict[str, str]:
    """Return each key's value and origin as `--print-config` prints them."""
    done = invoke("run", "-c", config, *words, "--print-config")
    assert done.returncode == 0, done.stderr
    return {line.partition(":")[0]: line.partition(": ")[2] for line in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("camera: no", "camera", "['no']"),
        ("camera: 007", "camera", "['007']"),
        ("camera: 1:30", "camera", "['1:30']"),
        ("output: 1.10", "output", "'1.10'"),
        ("output: 2026-11-28", "output", "'2026-11-28'"),
        ("frames: 1e3", "frames", "1000"),
        ("threshold: 1e-3", "threshold", "0.001"),
        ("duration-s: .inf", "duration_s", ".inf"),
        ("quiet: yes", "quiet", "true"),
        ("quiet: False", "quiet", "false"),
        ("alarm-k: 1", "alarm_k", "1"),
        ("x: &x {alarm_k: 1}\n", "", ""),
        ("ignore: [[[0, 0], [4, 0], [0, 4]]]", "ignore", "[[[0, 0], [4, 0], [0, 4]]]"),
    ],
)
def test_a_value_is_read_as_if_it_were_typed(config: Path, text: str, key: str, value: str) -> None:
    kept = [line for line in BASE.splitlines() if not text.startswith(line.partition(":")[0])]
    config.write_text("\n".join([*kept, text]))
    if not key:
        assert "No such key 'x'" in invoke("run", "-c", config, "--print-config").stderr
        return
    assert merged(config)[key].startswith(value) and merged(config)[key].endswith("# file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threshold: 0.9\nthreshold: 0.1", "line 4, column 1: duplicate key 'threshold'"),
        ("alarm-k: 1\nalarm_k: 2", "'alarm-k' and 'alarm_k' are the same key"),
        ("frames: 010", "frames expects a whole number, got '010'. Write 10"),
        ("evidence_count: 1_000", "evidence_count expects a whole number, got '1_000'"),
        ("timeout_s: 1:30", "timeout_s expects a number, got '1:30'"),
        ("frames: true", "frames expects a whole number, got 'true'"),
        ("frames: 1.5", "frames expects a whole number, got '1.5'"),
        ("quiet: maybe", "quiet expects true or false, got 'maybe'"),
        ("outlet: [~]", "outlet has an empty value in its list"),
        ("outlet: [[a]]", "outlet expects one value, got a list"),
        ("roi: {x: 1}", "roi expects one value, got a mapping"),
        ("frames: [3]", "frames expects one value, got a list"),
        ("\tframes: 3", "a tab in the indentation"),
        ("--- \nframes: 3", "a second document begins here"),
        ("config: other.yaml", "No such key 'config'"),
    ],
)
def test_a_value_that_readers_disagree_about_is_refused(
    config: Path, text: str, message: str
) -> None:
    config.write_text(BASE + text)
    done = invoke("run", "-c", config)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert str(config) in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('output: "a\\0b"', "output has a zero byte"),
        ("frames: .nan", "frames expects a whole number, got '.nan'"),
        ("frames: .inf", "frames expects a whole number, got '.inf'"),
    ],
)
def test_a_value_that_no_option_takes_is_refused_with_its_place(
    config: Path, text: str, message: str
) -> None:
    config.write_text(text)
    done = invoke("run", "-c", config, "--print-config")
    assert done.returncode == 2 and f"line 1, column 1: {message}" in done.stderr, done.stderr


def test_a_file_in_another_encoding_is_named(config: Path) -> None:
    config.write_bytes(b"camera: caf\xe9\n")
    done = invoke("run", "-c", config)
    assert done.returncode == 2
    assert f"{config}: not valid YAML: line 1, column 12: byte 0xe9 is not UTF-8" in done.stderr


def test_flags_win_over_variables_and_variables_over_files(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(BASE + "alarm_k: 1\nalarm_n: 4\nframes: 5\n")
    monkeypatch.setenv("EDGE_AD_RUN_ALARM_N", "6")
    monkeypatch.setenv("EDGE_AD_RUN_FRAMES", "7")
    values = merged(config, "--frames", 8)
    assert values["alarm_k"] == "1  # file"
    assert values["alarm_n"] == "6  # environment"
    assert values["frames"] == "8  # flag"
    assert values["hysteresis"] == "0.1  # default"


def test_a_variable_names_the_file_and_lists_are_written_as_in_yaml(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AD_RUN_CONFIG", str(config))
    monkeypatch.setenv("EDGE_AD_RUN_CAMERA", "[0, 'rtsp://a/b']")
    monkeypatch.setenv("EDGE_AD_RUN_QUIET", "1")
    monkeypatch.setenv("EDGE_AD_RUN_FRAMES", "")
    done = invoke("run", "--print-config")
    content = parse_yaml(done.stdout)
    assert content["camera"] == ["0", "rtsp://a/b"] and content["quiet"] is True
    assert content["engine"] == "a.onnx" and content["frames"] == 0


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("top=rtsp://line:hunter2@10.0.0.5/s", "top=rtsp://***@10.0.0.5/s"),
        ("rtsp://line:${ENV:PASSWORD}@10.0.0.5/s", "rtsp://line:${ENV:PASSWORD}@10.0.0.5/s"),
        ("watch:a@b", "watch:a@b"),
    ],
)
def test_credentials_are_not_printed(given: str, printed: str) -> None:
    done = invoke("run", "--camera", given, "--outlet", "https://a/b#secret=hunter2",
                  "--print-config")  # fmt: skip
    content = parse_yaml(done.stdout)
    assert content["camera"] == [printed] and content["outlet"] == ["https://a/b#secret=***"]


def test_arguments_have_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_VERIFY_REFERENCE", "a.onnx")
    monkeypatch.setenv("EDGE_AD_VERIFY_OTHER", "b.onnx")
    assert parse_yaml(invoke("verify", "--print-config").stdout)["other"] == "b.onnx"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("EDGE_AD_RUN_THRESOLD", "1", "Did you mean 'EDGE_AD_RUN_THRESHOLD'?"),
        ("EDGE_AD_THRESHOLD", "1", "Write EDGE_AD_RUN_THRESHOLD"),
        ("EDGE_AD_RUN_FRAMES", "010", "EDGE_AD_RUN_FRAMES expects a whole number, got '010'"),
        ("EDGE_AD_RUN_CAMERA", "[0, ", "EDGE_AD_RUN_CAMERA: not a valid list"),
        ("EDGE_AD_RUN_THRESHOLD", "high", "EDGE_AD_RUN_THRESHOLD expects a number"),
    ],
)
def test_a_wrong_variable_is_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    done = invoke("run", "-c", config)
    assert done.returncode == 2 and message in done.stderr, done.stderr


def test_variables_of_other_verbs_are_left_alone(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AD_TRAIN_STEPS", "many")
    assert merged(config)["frames"] == "0  # default"


def test_the_printed_configuration_is_a_configuration_file(config: Path) -> None:
    config.write_text("camera: [no, '010']\nengine: 1e5\noutput: '~'\nroi: 0,0,4,4\n")
    first = invoke("run", "-c", config, "--print-config").stdout
    config.write_text(first)
    again = invoke("run", "-c", config, "--print-config").stdout
    assert parse_yaml(again) == parse_yaml(first)


def test_json_from_a_file_makes_errors_json_too(config: Path) -> None:
    config.write_text(BASE + "json: true\n")
    done = invoke("run", "-c", config)
    assert json.loads(done.stdout)["type"] == "error"
