from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import CompletedProcess, invoke

pytest.importorskip("scipy", reason="metrics need edge-ad[evaluate]")

MakePath = Callable[..., Path]


def evaluate(*args: object) -> CompletedProcess:
    return invoke("evaluate", *args)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write four normal images and four with a spot, three of them bright enough for the engine."""
    rng = np.random.default_rng(0)
    for index in range(8):
        kind, spot = ("good", False) if index < 4 else ("spot", True)
        size = (64, 64) if index % 2 else (48, 80)
        image = rng.integers(20, 60, (*size, 3)).astype(np.uint8)
        mask = np.zeros(size, np.uint8)
        if spot:
            mask[8:24, 16:32] = 255
            image[mask > 0] = 20 if index == 7 else 240
            _write(tmp_path / "ground_truth" / kind / f"{index}_mask.png", mask)
        _write(tmp_path / "test" / kind / f"{index}.png", image)
    return tmp_path


def _write(path: Path, image: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(image))


def test_json_holds_every_metric_and_each_type(
    make_engine: MakePath, data: Path, tmp_path: Path
) -> None:
    done = evaluate(make_engine(), "--data", data, "--json", "-o", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["normal"], result["anomalous"]) == (4, 4)
    assert 0.7 < result["image_auroc"] < 1
    for key in ("pixel_auroc", "pixel_ap", "aupro", "iap", "iap90"):
        assert 0 < result[key] <= 1
        assert result["by_type"]["spot"][key] == result[key], "there is only one type"
    assert result["at_threshold"] == {"image": 0.5, "from": "stored", "escapes": 1, "overkill": 0}
    for name in ("report.json", "curves.png", "misses.png"):
        assert (tmp_path / "report" / name).stat().st_size > 500


def test_every_figure_has_an_interval_by_part(make_engine: MakePath, data: Path) -> None:
    engine = make_engine()
    result = json.loads(evaluate(engine, "--data", data, "--json").stdout)
    assert result["intervals_by"] | {"detail": ""} == {
        "decided_by": "each", "detail": "", "parts": 8, "normal_parts": 4, "anomalous_parts": 4,
        "level": 0.95, "draws": 1000,
    }  # fmt: skip
    for key in ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "iap", "iap90"):
        low, high = result["intervals"][key]
        assert low - 2e-3 <= result[key] <= high + 2e-3
    done = evaluate(engine, "--data", data, "--parts-from", "folders")
    assert done.returncode == 0, done.stderr
    assert "no interval" in done.stdout, "one part has all normal images"
    both = evaluate(engine, "--data", data, "--parts-from", "each", "--part-id", "(.)")
    assert both.returncode == 2 and "exclude each other" in both.stderr
    unknown = evaluate(engine, "--data", data, "--parts-from", "part-id")
    assert unknown.returncode == 2 and "is not one of: table, capture" in unknown.stderr


def test_ignoring_every_defect_leaves_pixel_metrics_undefined(
    make_engine: MakePath, data: Path
) -> None:
    hidden = ("--ignore", "10,2 40,2 40,30 10,30", "--threshold", 0.5)
    done = evaluate(make_engine(), "--data", data, "--json", *hidden)
    result = json.loads(done.stdout)
    assert result["pixel_ap"] is None and result["image_auroc"] < 0.9


def test_an_unreadable_image_is_left_out_and_named(make_engine: MakePath, data: Path) -> None:
    (data / "test" / "good" / "0.png").write_bytes(b"")
    done = evaluate(make_engine(), "--data", data, "--json")
    result = json.loads(done.stdout)
    assert result["normal"] == 3 and len(result["left_out"]) == 1
    assert "0.png" in done.stderr


@pytest.mark.parametrize("kind", ["good", "spot"])
def test_a_class_that_cannot_be_read_is_an_error(
    make_engine: MakePath, data: Path, kind: str
) -> None:
    for path in (data / "test" / kind).iterdir():
        path.write_bytes(b"")
    done = evaluate(make_engine(), "--data", data)
    side = "normal" if kind == "good" else "anomalous"
    assert done.returncode == 2 and f"none of the 4 {side} images" in done.stderr


def test_what_was_recognised_is_printed_and_counted(make_engine: MakePath, data: Path) -> None:
    (data / "test" / "spot" / "note.heic").write_bytes(b"")
    mask = data / "ground_truth" / "spot" / "5_mask.png"
    mask.write_bytes(b"")
    done = evaluate(make_engine(), "--data", data)
    assert done.returncode == 2 and "5_mask.png: the file is empty" in done.stderr
    words = ("--data", data, "--leave-out-bad-masks", "--layout", "mpdd")
    text = evaluate(make_engine(), *words)
    assert "MVTec AD layout: 4 normal and 3 anomalous images (1 type), 3 with masks" in text.stdout
    assert "9 files listed, 7 scored, 2 left out" in text.stdout
    result = json.loads(evaluate(make_engine(), *words, "--json").stdout)
    assert result["listed"] == result["scored"] + len(result["left_out"]) == 9
    assert result["data_set"]["layout"] == "mvtec"


def test_an_unknown_layout_is_a_usage_error(make_engine: MakePath, data: Path) -> None:
    done = evaluate(make_engine(), "--data", data, "--layout", "mvtek")
    assert done.returncode == 2 and "Did you mean 'mvtec'" in done.stderr


def test_a_mask_of_another_size_is_an_error(make_engine: MakePath, data: Path) -> None:
    _write(data / "ground_truth" / "spot" / "5_mask.png", np.zeros((10, 10), np.uint8))
    done = evaluate(make_engine(), "--data", data)
    assert done.returncode == 2 and "10x10" in done.stderr and "Traceback" not in done.stderr


def test_without_anomalous_images_the_metrics_are_undefined(
    make_engine: MakePath, data: Path
) -> None:
    for folder in ("test", "ground_truth"):
        shutil.rmtree(data / folder / "spot")
    done = evaluate(make_engine(), "--data", data)
    assert done.returncode == 0 and "are undefined" in done.stdout
    result = json.loads(evaluate(make_engine(), "--data", data, "--json").stdout)
    assert (result["normal"], result["anomalous"], result["by_type"]) == (4, 0, {})
    assert result["image_auroc"] is None and result["iap90"] is None


def test_an_output_that_cannot_be_written_fails_before_scoring(
    make_engine: MakePath, data: Path
) -> None:
    done = evaluate(make_engine(), "--data", data, "-o", "/proc/report")
    assert done.returncode == 6 and "/proc/report" in done.stderr


@pytest.mark.parametrize(("missing", "code"), [("engine", 2), ("data", 2), ("weights", 2)])
def test_missing_files_are_named(
    make_engine: MakePath, data: Path, tmp_path: Path, missing: str, code: int
) -> None:
    artifact = {"engine": tmp_path / "no.onnx", "weights": tmp_path / "no.pt"}.get(missing)
    folder = tmp_path / "nowhere" if missing == "data" else data
    done = evaluate(artifact or make_engine(), "--data", folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and ("no" in done.stderr)
