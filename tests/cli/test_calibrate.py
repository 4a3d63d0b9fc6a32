"""`edge-ad calibrate` from end to end, on an engine of a few thousand weights."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.calibration.ranges.table import load_table
from edge_ad.dataset import labelled_images
from edge_ad.engine import open_engine
from edge_ad.files import sha256
from edge_ad.images import read_image, write_image
from tests.calibration.int8_models import Tiny, calibrate, images, labelled, part_image

pytestmark = pytest.mark.usefixtures("plain_charts")

run = partial(calibrate, "--parts-from", "each")  # comparing the images takes most of the time
FRAGILE = 400.0  # an outlier that leaves the other channels less than one step of int8


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return Tiny().save(tmp_path / "tiny.onnx")


@pytest.fixture
def fragile(tmp_path: Path) -> Path:
    return Tiny(outlier=FRAGILE).save(tmp_path / "fragile.onnx")


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    return images(tmp_path / "normal", 16)


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    return labelled(tmp_path / "labelled", 12)


def _report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return report


LOOSE = ("--max-auroc-loss", 1, "--max-pixel-ap-loss", 1)


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_an_engine_and_normal_images_make_an_int8_engine(
    engine: Path, normal: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = engine.with_name("out.int8.onnx")
    words = ("--images", normal, "-o", out, "--target", target, *LOOSE, "--json")
    assert run(engine, *words) == 0
    report = _report(capsys)
    with open_engine(out) as made:
        manifest = made.manifest
    table = load_table(out.with_suffix(".ranges.yaml"))
    assert manifest.precision == "int8"
    assert manifest.provenance.parent_sha256 == sha256(engine)
    assert manifest.provenance.notes["int8 target"] == target
    assert manifest.provenance.notes["calibration set sha256"] == table.sets[0].sha256
    assert report["passed"] is True
    assert report["float_precision"] == ("fp16" if target == "tensorrt" else "fp32")
    assert len(report["gate"]["methods"]) == 6
    assert report["gate"]["eval_set"] == "normal images with synthetic anomalies"
    assert len(report["nodes"]) == len(Tiny().nodes)


def test_a_labelled_set_is_the_gate_where_there_is_one(
    engine: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(engine, "--images", normal, "--test", test_set, *LOOSE, "--json") == 0
    gate = _report(capsys)["gate"]
    assert gate["eval_set"] == "labelled images"
    assert (gate["normal"], gate["anomalous"]) == (12, 12)
    assert set(gate["losses"]) == {"image_auroc", "pixel_ap"}


def test_masks_of_ones_make_the_same_gate(
    engine: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (engine, "--images", normal, "--test", test_set, *LOOSE, "--method", "minmax", "--json")
    assert run(*words) == 0
    before = _report(capsys)["gate"]
    for path in (test_set / "ground_truth" / "spot").iterdir():
        write_image(path, read_image(path)[:, :, 0] // 255)
    assert run(*words) == 0
    after = _report(capsys)["gate"]
    assert after["losses"] == before["losses"]
    assert after["fp32"] == before["fp32"]
    assert after["not_checked"] == []
    assert after["data_set"]["layout"] == "mvtec"
    assert after["left_out"] == {}


def test_without_masks_the_pixel_limit_is_refused_or_waived(
    engine: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(test_set / "ground_truth")
    words = (engine, "--images", normal, "--test", test_set, *LOOSE, "--method", "minmax")
    assert run(*words) == 2
    message = capsys.readouterr().err
    assert "no anomalous image has a mask" in message
    assert "--no-pixel-limit" in message
    assert not engine.with_suffix(".int8.ranges.yaml").exists(), "refused before any work"
    assert run(*words, "--no-pixel-limit", "--json") == 0
    gate = _report(capsys)["gate"]
    assert gate["limits"]["pixel_ap"] is None
    assert gate["not_checked"] == ["pixel AP: its limit was waived"]


def test_a_stretched_mask_is_refused_or_left_out(
    engine: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = test_set / "ground_truth" / "spot" / "003_mask.png"
    write_image(path, np.kron(read_image(path)[:, :, 0], np.ones((2, 2), np.uint8)))
    words = (engine, "--images", normal, "--test", test_set, *LOOSE, "--method", "minmax")
    assert run(*words) == 2
    assert "003_mask.png: a mask of 80x80 for an image of 40x40" in capsys.readouterr().err
    assert run(*words, "--leave-out-bad-masks", "--json") == 0
    gate = _report(capsys)["gate"]
    assert (gate["normal"], gate["anomalous"]) == (12, 11)
    assert list(gate["left_out"]) == [str(path)]


def test_of_all_methods_one_that_survives_an_outlier_is_chosen(
    fragile: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fragile, "--images", normal, "--test", test_set, *LOOSE, "--json") == 0
    report = _report(capsys)
    errors = {item["method"]: item["map_error"] for item in report["gate"]["methods"]}
    assert errors[report["method"]] == min(errors.values())


def test_a_fragile_block_goes_back_to_float_until_the_gate_holds(
    fragile: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--images", normal, "--test", test_set, "--method", "minmax", "--json")
    limits = ("--max-pixel-ap-loss", 0.015, "--max-float", 0.9)
    assert run(fragile, *words, *limits, "--no-fall-back") == 4
    assert run(fragile, *words, *limits) == 0
    report = _report(capsys)
    assert "net.block" in report["float_blocks"]
    fewer = [step for step in report["gate"]["steps"] if len(step["float_blocks"]) == 1]
    assert fewer
    assert not any(step["passed"] for step in fewer)
    worst = report["gate"]["sensitivity"]["blocks"][0]
    assert worst["block"] == "net.block"
    assert worst["without"] < report["gate"]["sensitivity"]["all_int8"]
    nodes = {node["node"]: node["rule"] for node in report["nodes"]}
    assert nodes["node_block_a"] == "returned to float to pass the gate"


def test_an_unreachable_gate_exits_with_4_and_reports_the_best(
    engine: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--images", normal, "--test", test_set, "--max-pixel-ap-loss", 0, "--max-float", 0.01)
    assert run(engine, *words) == 4
    shown = capsys.readouterr()
    assert "The best found" in shown.err
    assert "lost" in shown.err
    assert "not checked: false alarms: other figures fail already" in shown.out
    assert not engine.with_suffix(".int8.onnx").exists()
    assert engine.with_suffix(".int8.ranges.yaml").exists()


def test_a_table_makes_the_same_engine_again_without_images(
    engine: Path, normal: Path, test_set: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.int8.onnx", tmp_path / "b.int8.onnx"
    words = ("--method", "mse", "--no-gate")
    assert run(engine, "--images", normal, "-o", first, *words) == 0
    assert run(engine, "--ranges", tmp_path / "a.int8.ranges.yaml", "-o", second, *words) == 0
    image = labelled_images(test_set)[0].path
    maps = []
    for path in (first, second):
        with open_engine(path) as made:
            maps.append(made.infer(read_image(image)[None, :32, :32]).maps)
    assert (maps[0] == maps[1]).all()


def test_images_for_a_gate_that_is_left_out_are_refused(
    engine: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--method", "mse", "--no-gate", "--test", test_set)
    assert run(engine, "--images", normal, *words) == 2
    assert "--test is for the gate, which --no-gate leaves out" in capsys.readouterr().err


def test_tables_of_two_cameras_merge(engine: Path, normal: Path, tmp_path: Path) -> None:
    other = images(tmp_path / "other", 10, seed=5)
    words = ("--method", "minmax", "--no-gate")
    assert run(engine, "--images", normal, "-o", tmp_path / "a.onnx", *words) == 0
    merged = ("--images", other, "--merge", tmp_path / "a.ranges.yaml", "-o", tmp_path / "b.onnx")
    assert run(engine, *merged, *words) == 0
    assert load_table(tmp_path / "b.ranges.yaml").images == 26


def test_nodes_are_listed_with_their_rules(
    engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(engine, "--list-nodes", "--exclude", "Add", "--target", "tensorrt") == 0
    output = capsys.readouterr().out
    assert "node_logits" in output
    assert "last layer" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "ranges need images or a table"),
        (("--images", "nowhere"), "no such folder"),
        (("--images", "normal", "--no-gate"), "name one method"),
        (("--ranges", "none.yaml", "--method", "mse"), "the gate needs images"),
        (("--images", "normal", "--exclude", "Conv"), "nothing is left to quantize"),
        (("--images", "normal", "--exclude", "xyz"), "matches no node"),
        (("--images", "normal", "--test", "normal"), "not a layout of labelled images"),
        (("--images", "empty"), "no images in it"),
        (("--images", "normal", "--seed", "-1"), "-1 is not in the range x>=0"),
        (("--images", "normal", "-o", "tiny.onnx"), "this is the fp32 engine itself"),
    ],
)
def test_invalid_options_are_refused_in_one_paragraph(
    engine: Path,
    normal: Path,
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (normal.parent / "empty").mkdir()
    monkeypatch.chdir(normal.parent)
    assert run(engine, *words) == 2
    output = capsys.readouterr().err
    assert message in output
    assert "Traceback" not in output


def test_grey_and_odd_sized_images_are_used_and_broken_ones_named(
    engine: Path, normal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2
    import numpy as np

    grey = cv2.cvtColor(read_image(normal / "000.png"), cv2.COLOR_BGR2GRAY)
    write_image(normal / "grey.png", np.asarray(grey, np.uint8))
    write_image(normal / "wide.png", cv2.resize(read_image(normal / "001.png"), (90, 30)))  # type: ignore[arg-type]
    (normal / "broken.png").write_bytes(b"\x89PNG cut")
    assert run(engine, "--images", normal, *LOOSE, "--method", "mse") == 0
    assert "broken.png" in capsys.readouterr().err


def test_the_report_is_a_file_and_a_page_with_its_images_inside(
    engine: Path, normal: Path, test_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # with its own chart
    assert run(engine, "--images", normal, "--test", test_set, *LOOSE) == 0
    out = engine.with_suffix(".int8.onnx")
    report = json.loads(out.with_name("tiny.int8.onnx.report.json").read_text())
    page = out.with_name("tiny.int8.onnx.report.html").read_text()
    assert report["bytes"]["int8"] == out.stat().st_size
    assert page.count("data:image/") == 2  # the set's convergence, the example maps
    assert all(node["node"] in page for node in report["nodes"])
    assert all(item["method"] in page for item in report["gate"]["methods"])


def test_a_gate_too_small_for_its_limit_is_warned_of(
    engine: Path, normal: Path, test_set: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("--images", normal, "--test", test_set, "--method", "mse", "--max-pixel-ap-loss", 1)
    run(engine, *words, "--no-fall-back")
    assert "12 normal and 12 anomalous images" in caplog.text
    assert "steps of 0.0069" in caplog.text
    caplog.clear()
    run(engine, *words, "--max-auroc-loss", 0.01)
    assert "steps" not in caplog.text


def test_a_failed_gate_leaves_and_names_its_report_too(
    engine: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--images", normal, "--test", test_set, "--max-pixel-ap-loss", 0, "--no-fall-back")
    assert run(engine, *words, "--method", "percentile-99.9") == 4
    report = json.loads(engine.with_name("tiny.int8.onnx.report.json").read_text())
    assert report["passed"] is False
    assert report["engine"] is None
    page = engine.with_name("tiny.int8.onnx.report.html")
    assert "pixel_ap lost" in page.read_text()
    assert f"report: {page}" in capsys.readouterr().out.splitlines()


def test_ranges_go_through_a_tensorrt_cache_and_back(
    engine: Path, normal: Path, tmp_path: Path
) -> None:
    words = ("--target", "tensorrt", "--method", "minmax", "--no-gate")
    cache = tmp_path / "calib.cache"
    made = ("--images", normal, "-o", tmp_path / "a.onnx", "--write-cache", cache)
    assert run(engine, *made, *words) == 0
    assert run(engine, "--read-cache", cache, "-o", tmp_path / "b.onnx", *words) == 0
    image = part_image(np.random.default_rng(3))[None, :32, :32]
    maps = []
    for name in ("a.onnx", "b.onnx"):
        with open_engine(tmp_path / name) as opened:
            maps.append(opened.infer(image).maps)
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)
