"""`edge-ad bench`: the engine alone, the loop beside it, and limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bench.roofline import Ceilings
from edge_ad.cli.bench_format import flat_figures
from edge_ad.cli.bench_limits import check_names
from tests.conftest import CompletedProcess, invoke

MakePath = Callable[..., Path]


def bench(*arguments: object) -> CompletedProcess:
    brief = ("--duration-s", 0.05, "--warmup-ms", 10, "--allow-unstable")
    return invoke("bench", *brief, *arguments)


def test_engine_stages_and_loop_are_measured(make_engine: MakePath, make_folder: MakePath) -> None:
    parts, engine = make_folder("parts", 8), make_engine(threshold=None)
    done = bench("--engine", engine, "--camera", parts, "--rounds", 2, "--json")
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stderr.splitlines() if line.startswith("measuring ")]
    loop = "measuring the loop beside the engine, 2 rounds"
    assert steps == ["measuring the engine", "measuring the stages", loop]
    result = json.loads(done.stdout)
    assert result["schema"] == 1 and result["load_average"] >= 0
    assert result["loop_frames"] == 8 and result["calls"] == result["n"] > 1
    assert 0 < result["p50_ms"] <= result["upper_ms"]["p50"] <= result["max_ms"]
    assert 0 < result["loop_ratio"] and result["loop_fps"] > 0
    assert result["loop_latency_ms"]["p99_ms"] is None  # of 16 frames
    shares = [stage.get("share", 0) for stage in result["stages"].values()]
    assert sum(shares) == pytest.approx(1, abs=0.001)
    assert len(result["conditions"]["engine_sha256"]) == 64


def test_frames_that_no_line_would_judge_do_not_make_the_loop_faster(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    parts = make_folder("parts", 6)
    for name, grey in (("000", 0), ("003", 0), ("005", 255)):
        cv2.imwrite(str(parts / f"{name}.png"), np.full((64, 64, 3), grey, np.uint8))
    words = ("--engine", make_engine(), "--camera", parts, "--rounds", 1)
    done = bench(*words, "--streams", 1, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["loop_invalid"] == {"black": 2, "saturated": 1}
    assert result["loop_frames"] == result["loop_latency_ms"]["n"] == 3
    assert result["loop_engine_ms"]["n"] == 3 and result["streams"][0]["n"] > 0
    assert "count in no figure but those of stages: 2 black, 1 saturated." in bench(*words).stdout


def test_a_source_without_a_frame_to_judge_is_refused(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    parts = make_folder("parts", 0)
    cv2.imwrite(str(parts / "0.png"), np.zeros((64, 64, 3), np.uint8))
    done = bench("--engine", make_engine(), "--camera", parts)
    assert done.returncode == 5 and "all 1 that were read are INVALID (1 black)" in done.stderr


def test_the_text_is_a_table_with_units(make_engine: MakePath, make_folder: MakePath) -> None:
    words = ("--engine", make_engine(), "--camera", make_folder("parts", 4), "--rounds", 1)
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    for text in ("frames/s", "ms by stage", "n too small", "of the engine's speed on 4 frames"):
        assert text in done.stdout
    assert "{" not in done.stdout


def test_rate_streams_batches_and_capacity(make_engine: MakePath, make_folder: MakePath) -> None:
    engine, parts = make_engine(batch=None), make_folder("parts", 4)
    words = ("--rounds", 1, "--rate", 100, "--streams", "1,2", "--batch", "1,3", "--capacity")
    done = bench("--engine", engine, "--camera", parts, *words, "--latency-ms", 0.001, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["rate"]["n"] == 5 and result["rate"]["rate_hz"] == 100
    assert [row["streams"] for row in result["streams"]] == [1, 2]
    assert [row["batch"] for row in result["batches"]] == [1, 3]
    reached = result["capacity"]["limit"]
    assert result["capacity"]["streams"] == 0
    # on a busy computer frames are dropped before that
    assert "limit 0.001 ms" in reached or "frames dropped at 1 stream;" in reached
    asked = {"scenario": None, "rate_hz": 100, "streams": (1, 2), "batches": (1, 3)}
    asked |= {"roofline": False, "estimate": False, "capacity": True}
    check_names([(name, "<", 0) for name in flat_figures(result)], camera=True, options=asked)


def test_a_sweep_is_held_to_limits_and_all_that_fail_are_named(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    limits = ("--assert", "streams.2.fps<0", "--assert", "max_ms<0", "--assert", "streams.2.n>0")
    words = ("--camera", make_folder("parts", 4), "--rounds", 1, "--streams", "1,2")
    done = bench("--engine", make_engine(), *words, *limits)
    assert done.returncode == 4
    assert "streams.2.fps < 0, got" in done.stderr and "max_ms < 0, got" in done.stderr
    assert "streams.2.n" not in done.stderr


@pytest.mark.parametrize(("speeds", "code"), [((1e-9, 1e-9, 1e-9), 4), ((1e-9, 1e9), 0)])
def test_ceilings_below_what_layers_reached_are_measured_again_then_unstable(
    make_engine: MakePath, monkeypatch: pytest.MonkeyPatch, speeds: tuple[float, ...], code: int
) -> None:
    measured = iter(Ceilings(speed, speed) for speed in speeds)
    monkeypatch.setattr("edge_ad.bench.session.measure_ceilings", lambda seconds: next(measured))
    monkeypatch.setattr("edge_ad.bench.windows.TOLERANCE", 1e9)
    done = invoke("bench", "--duration-s", 0.05, "--engine", make_engine(), "--estimate")
    assert done.returncode == code and next(measured, None) is None
    for text in (done.stderr, done.stdout):
        assert ("ceilings are below what the layers reached" in text) == (code == 4)


def test_a_source_without_end_is_measured_on_its_first_frames(
    make_engine: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"loop.IN_MEMORY": 0, "loop._LEAST": 3, "session.IN_MEMORY": 0, "session._STAGED": 3}
    for place, number in few.items():
        monkeypatch.setattr(f"edge_ad.bench.{place}", number)
    words = ("--camera", "pattern://?fps=0&width=64&height=64", "--rounds", 1, "--json")
    done = bench("--engine", make_engine(), *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["loop_frames"] == 3


@pytest.mark.slow
def test_the_tiles_of_a_frame_count_among_what_fits_in_memory(
    make_engine: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.bench.loop.IN_MEMORY", 3 * 4 * (32 * 32 * 3))
    monkeypatch.setattr("edge_ad.bench.loop._LEAST", 1)
    words = ("--camera", "pattern://?fps=0&width=64&height=64", "--tiles", "2x2", "--rounds", 1)
    done = bench("--engine", make_engine(threshold=None), *words, "--json")
    assert json.loads(done.stdout)["loop_frames"] == 3


def test_a_result_is_kept_and_compared(make_engine: MakePath, tmp_path: Path) -> None:
    assert bench("--engine", make_engine(), "-o", tmp_path / "a.json").returncode == 0
    kept = json.loads((tmp_path / "a.json").read_text())
    assert len(kept["samples"]["engine"]) == kept["calls"]
    done = bench("--engine", make_engine(), "--compare", tmp_path / "a.json", "--json")
    (change,) = json.loads(done.stdout)["compared"]["changes"]
    assert change["name"] == "engine" and change["old_ms"] > 0


def test_latencies_and_stages_are_drawn(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    words = ("--camera", make_folder("parts", 3), "--rounds", 1, "--figure", tmp_path / "a.png")
    assert bench("--engine", make_engine(), *words).returncode == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_windows_that_disagree_end_with_4(
    make_engine: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.bench.windows.TOLERANCE", 0.0)
    brief = ("--duration-s", 0.01, "--warmup-ms", 10)
    words = ("--engine", make_engine(), "--assert", "p50_ms<0", "--json")
    done = invoke("bench", *brief, *words)
    assert done.returncode == 4
    result, error = map(json.loads, done.stdout.splitlines())
    assert result["stable"] is False and error["exit"] == 4
    assert "expected p50_ms < 0" in done.stderr and "unstable: 10 windows" in done.stderr
    others = result["conditions"].get("other_cores")  # unknown after a moment
    said = "Something else" if others is None else f"Other programs took {others} of"
    assert said in done.stderr


def test_a_scenario_stands_alone(make_engine: MakePath) -> None:
    done = bench("--engine", make_engine(), "--scenario", "offline")
    assert done.returncode == 0 and "Not by MLPerf's rules" in done.stdout


def test_the_queries_of_a_scenario_are_kept_and_drawn(
    make_engine: MakePath, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    outputs = ("-o", tmp_path / "a.json", "--figure", tmp_path / "a.png")
    done = bench("--engine", make_engine(), "--scenario", "single-stream", *outputs)
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "a.json").read_text())
    assert len(kept["samples"]["single-stream"]) == kept["scenario"]["queries"] > 0
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--capacity", "--camera", "x"), "Give --rate"),
        (("--latency-ms", 5, "--camera", "x"), "--capacity"),
        (("--streams", 2), "Give --camera"),
        (("--streams", "0,1"), "between 1 and"),
        (("--batch", "1,2,1"), "measured once"),
        (("--batch", "two"), "1,2,4"),
        (("--rate", 0, "--camera", "x"), "--rate"),
        (("--batch", "2"), "Export it with --dynamic-batch to compare sizes"),
        (("--compare", "nothing.json"), "nothing.json"),
        (("--frames", 5), "Give --camera"),
        (("--duration-s", 0), "--duration-s"),
        (("--assert", "p99_ms<e"), "expected a comparison"),
        (("--assert", "p99_ms<1e999"), "expected a comparison"),
        (("--assert", "p99<8"), "not measured with these options"),
        (("--assert", "stages.decode.p50_ms<8"), "--assert stages.decode.p50_ms: not measured"),
        (("--assert", "stages.decod.p50_ms<8", "--camera", "."), "nearest stages.decode.p50_ms"),
        (("--assert", "streams.3.fps>8", "--streams", "2", "--camera", "."), "streams.2.fps"),
        (("--assert", "upper_ms.p9<8"), "upper_ms has no such figure"),
        (("--camera", ""), "--camera: empty"),
        (("--camera", "rtsp://u:secret@h/x"), "edge-ad: rtsp://h/x: a live camera"),
        (("--camera", "pattern://"), "Expected a video or a folder"),
        (("--camera", "watch:."), "watched folder has no end"),
        (("--scenario", "offline", "--camera", "x"), "--camera: --scenario measures"),
        (("--scenario", "offline", "--batch", "1", "--estimate"), "--batch, --estimate: --scen"),
        (("--roofline", "--runtime", "openvino"), "profiled under ONNX Runtime"),
        (("-o", "a.txt"), "ends in .json"),
        (("--figure", "a.json"), "--figure a.json: expected a name that ends in .png"),
    ],
)
def test_options_that_cannot_be_measured_are_refused(
    make_engine: MakePath, words: tuple[object, ...], said: str
) -> None:
    done = bench("--engine", make_engine(), *words)
    assert done.returncode == 2 and said in done.stderr


@pytest.mark.parametrize(
    ("limit", "code"),
    [("p50_ms<1e9", 0), ("p50_ms<0", 4), ("p99.9_ms<1e9", 4), ("p51_ms<1", 2), ("fast", 2)],
)
def test_a_limit_that_is_not_met_fails_the_command(
    make_engine: MakePath, limit: str, code: int
) -> None:
    # a moment: too few calls for a p99.9 on any machine
    done = bench("--engine", make_engine(), "--duration-s", 0.01, "--assert", limit)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_outputs_that_cannot_be_written_are_refused_before_the_measurement(
    make_engine: MakePath, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for words in (("-o", tmp_path / "file" / "a.json"), ("--figure", tmp_path / "file" / "a.png")):
        done = bench("--engine", make_engine(), *words, "--json")
        assert done.returncode == 6 and "is not a writable folder" in done.stderr
        (only,) = map(json.loads, done.stdout.splitlines())
        assert only["type"] == "error"


def test_an_empty_source_cannot_be_measured(make_engine: MakePath, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert bench("--engine", make_engine(), "--camera", tmp_path / "empty").returncode == 5


@pytest.mark.parametrize(
    "options", [("--roi", "0,0,16,16"), ("--tiles", "2x2"), ("--threshold", 1)]
)
def test_options_of_the_loop_need_a_camera(
    make_engine: MakePath, options: tuple[object, ...]
) -> None:
    done = bench("--engine", make_engine(), *options)
    assert done.returncode == 2
    assert "Give --camera" in done.stderr


def test_layers_are_put_beside_this_machine_and_others(make_engine: MakePath) -> None:
    done = bench("--engine", make_engine(), "--roofline", "--estimate")
    assert done.returncode == 0, done.stderr
    for text in ("of ceiling", "estimate, not measured", "Jetson AGX Orin", "peaks alone"):
        assert text in done.stdout
