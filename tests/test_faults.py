"""The files that users reported go through the verbs as they should, where they are available.

Every kind is tested with inputs made by the test, too: see the tests of images, dataset, source,
export/adapter, calibration and cli.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_ad.dataset import labelled_images, normal_images
from edge_ad.engine import open_engine
from edge_ad.images import read_image
from tests.conftest import CompletedProcess, MakeEngine, invoke, part_image


@pytest.fixture
def faults(shared: Path) -> Path:
    folder = shared / "faults"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture
def engine(make_engine: MakeEngine) -> Path:
    return make_engine(threshold=0.9)


def _records(done: CompletedProcess) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the inspections by file, or by frame, and the summary."""
    records = [json.loads(line) for line in done.stdout.splitlines()]
    (summary,) = [r for r in records if r["type"] == "summary"]
    named = {r.get("file") or str(r["frame"]): r for r in records if r["type"] == "inspection"}
    return named, summary


def _run(engine: Path, camera: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    done = invoke("run", "--engine", engine, "--camera", camera, "--json")
    assert done.returncode == 0, done.stderr
    return _records(done)


def _figures(engine: Path, data: Path) -> dict[str, Any]:
    done = invoke("evaluate", engine, "--data", data, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    names = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "iap", "iap90")
    return {name: result[name] for name in names}


def test_masks_of_ones_give_the_figures_of_their_twins(faults: Path, engine: Path) -> None:
    pytest.importorskip("scipy")
    ones, plain = (_figures(engine, faults / "masks" / name) for name in ("mask01", "plain"))
    assert ones == plain and None not in ones.values()


def test_masks_of_ones_among_others_count_as_they_do(
    faults: Path, engine: Path, tmp_path: Path
) -> None:
    pytest.importorskip("scipy")
    mixed = shutil.copytree(faults / "masks" / "mixed", tmp_path / "mixed")
    before = _figures(engine, mixed)
    for path in (mixed / "ground_truth").rglob("*.png"):
        marked = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) != 0
        cv2.imwrite(str(path), np.where(marked, 255, 0).astype(np.uint8))
    assert _figures(engine, mixed) == before


def test_twelve_bits_are_judged_with_their_depth(faults: Path, engine: Path) -> None:
    inspections, _ = _run(engine, faults / "twelve_bit")
    for name, record in inspections.items():
        green = read_image(faults / "twelve_bit" / name, 12)[:, :, 1]
        assert 0.3 < record["score"] <= green.max() / 255 + 0.01


def test_a_jpeg_is_judged_where_it_is_whole(faults: Path, engine: Path) -> None:
    inspections, summary = _run(engine, faults / "jpeg")
    half, trailing = inspections["jpg_half_missing_eoi.jpg"], inspections["jpg_trailing.jpg"]
    assert half["verdict"] == "INVALID" and "jpg_half_missing_eoi.jpg: " in half["reason"]
    assert trailing["verdict"] == "PASS" and summary["frames"] == 2


def test_every_suffix_is_judged_or_named(faults: Path, engine: Path) -> None:
    inspections, summary = _run(engine, faults / "suffixes")
    assert sorted(inspections) == ["01.jfif", "03.jp2", "04.gif", "08.PNG"]
    assert summary["judged"] == 4 and summary["left_out_files"] == ["05.tga"]


def test_a_folder_of_kolektor_gives_no_mask_as_a_part(faults: Path) -> None:
    folder = faults / "kolektor" / "kos01"
    masks = {path: cv2.imread(str(path)) for path in sorted(folder.glob("*_label.bmp"))}
    normal = {f"{path.stem[:-6]}.jpg" for path, mask in masks.items() if not np.any(mask)}
    assert {path.name for path in normal_images(folder)} == normal and len(normal) == 3
    labelled = labelled_images(folder)
    assert {sample.path.name for sample in labelled if not sample.anomalous} == normal
    assert len(labelled) == len(masks) and not labelled.left_out


@pytest.mark.parametrize(("name", "frames", "bad"), [("mjgap70", 300, 70), ("mjcorrupt", 60, 5)])
def test_every_frame_of_a_damaged_video_counts(
    faults: Path, engine: Path, name: str, frames: int, bad: int
) -> None:
    _, summary = _run(engine, faults / "video" / f"{name}.avi")
    counts = summary["frames"], summary["judged"], summary["invalid"]
    assert counts == (frames, frames - bad, bad)


def test_a_video_that_ends_early_exits_with_5(faults: Path, engine: Path, tmp_path: Path) -> None:
    content = (faults / "video" / "mjcorrupt.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    done = invoke("run", "--engine", engine, "--camera", tmp_path / "cut.avi", "--json")
    assert done.returncode == 5 and "the video ends early: its header says 60" in done.stderr
    _, summary = _records(done)
    assert summary["frames"] == summary["judged"] + summary["invalid"] > 20


def _import(faults: Path, name: str, folder: Path) -> Path:
    out = folder / f"{name}.onnx"
    done = invoke("import", faults / "onnx" / out.name, "--adapter", "anomalib", "-o", out)
    assert done.returncode == 0, done.stderr
    return out


def _parts(folder: Path, count: int = 16) -> Path:
    folder.mkdir()
    for index in range(count):
        image = part_image(seed=index, hw=(128, 176)) + np.uint8(60)
        cv2.imwrite(str(folder / f"{index:02d}.png"), image)
    return folder


def test_clamped_scores_make_no_threshold(faults: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    engine = _import(faults, "clamped", tmp_path)
    words = ("--images", _parts(tmp_path / "parts"), "--false-alarm-rate", 0.2)
    done = invoke("threshold", engine, *words, "--parts-from", "each", "--allow-drift")
    assert done.returncode == 4 and "clamps, rounds or saturates its scores" in done.stderr
    assert not engine.with_name("clamped.onnx.yaml").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opset11", "opset9_ir3", "q_names", "q_dead"])
@pytest.mark.parametrize("target", ["onnxruntime", "tensorrt"])
def test_an_imported_graph_becomes_int8_and_stays_close(
    faults: Path, tmp_path: Path, name: str, target: str
) -> None:
    engine, parts = _import(faults, name, tmp_path), _parts(tmp_path / "parts")
    out = tmp_path / "part.int8.onnx"
    words = ("--images", parts, "--method", "minmax", "--no-gate", "--float-precision", "fp32")
    done = invoke("calibrate", engine, "-o", out, "--target", target, *words)
    assert done.returncode == 0, done.stderr
    with open_engine(engine) as fp32, open_engine(out) as int8:
        height, width = fp32.manifest.size_hw
        images = [read_image(path) for path in sorted(parts.iterdir())]
        batches = [cv2.resize(image, (width, height))[None].astype(np.uint8) for image in images]
        before = np.concatenate([fp32.infer(batch).maps for batch in batches])
        after = np.concatenate([int8.infer(batch).maps for batch in batches])
    assert np.abs(after - before).max() < 0.1 * np.abs(before).max()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dup", "line 5, column 1: duplicate key 'threshold', first given in line 4"),
        ("oct", "frames expects a whole number, got '010'. Write 10"),
    ],
)
def test_yaml_that_readers_disagree_about_is_refused(faults: Path, name: str, message: str) -> None:
    done = invoke("run", "--print-config", "-c", faults / "yaml" / f"{name}.yaml")
    assert done.returncode == 2 and message in done.stderr


def test_no_is_a_camera_of_that_name(faults: Path) -> None:
    done = invoke("run", "--print-config", "-c", faults / "yaml" / "no.yaml")
    assert f"camera: [{faults / 'yaml' / 'no'}]" in done.stdout, done.stdout
