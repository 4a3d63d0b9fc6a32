from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="metrics need edge-ad[evaluate]")

MakePath = Callable[..., Path]


def evaluate(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_ad", "evaluate", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four normal images, four with a bright spot, three of which the green engine can see."""
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
    found = json.loads(done.stdout)
    assert (found["good"], found["defective"]) == (4, 4)
    assert 0.7 < found["image_auroc"] < 1
    for key in ("pixel_auroc", "pixel_ap", "aupro", "iap", "iap90"):
        assert 0 < found[key] <= 1
        assert found["by_type"]["spot"][key] == found[key], "there is only one type"
    assert found["at_threshold"] == {"image": 0.5, "from": "stored", "escapes": 1, "overkill": 0}
    for name in ("report.json", "curves.png", "misses.png"):
        assert (tmp_path / "report" / name).stat().st_size > 500


def test_ignoring_every_defect_leaves_nothing_to_find(make_engine: MakePath, data: Path) -> None:
    hidden = ("--ignore", "10,2 40,2 40,30 10,30")
    done = evaluate(make_engine(), "--data", data, "--json", *hidden)
    found = json.loads(done.stdout)
    assert found["pixel_ap"] is None and found["image_auroc"] < 0.9


def test_an_unreadable_image_is_left_out_and_named(make_engine: MakePath, data: Path) -> None:
    (data / "test" / "good" / "0.png").write_bytes(b"")
    done = evaluate(make_engine(), "--data", data, "--json")
    found = json.loads(done.stdout)
    assert found["good"] == 3 and len(found["left_out"]) == 1
    assert "0.png" in done.stderr


def test_a_mask_of_another_size_is_an_error(make_engine: MakePath, data: Path) -> None:
    _write(data / "ground_truth" / "spot" / "5_mask.png", np.zeros((10, 10), np.uint8))
    done = evaluate(make_engine(), "--data", data)
    assert done.returncode == 2 and "10x10" in done.stderr and "Traceback" not in done.stderr


def test_without_defects_there_is_nothing_to_rank(make_engine: MakePath, data: Path) -> None:
    for folder in ("test", "ground_truth"):
        shutil.rmtree(data / folder / "spot")
    done = evaluate(make_engine(), "--data", data)
    assert done.returncode == 0 and "nothing to rank" in done.stdout
    found = json.loads(evaluate(make_engine(), "--data", data, "--json").stdout)
    assert (found["good"], found["defective"], found["by_type"]) == (4, 0, {})
    assert found["image_auroc"] is None and found["iap90"] is None


def test_a_report_that_cannot_be_written_is_named_at_once(
    make_engine: MakePath, data: Path
) -> None:
    done = evaluate(make_engine(), "--data", data, "-o", "/proc/report")
    assert done.returncode == 6 and "/proc/report" in done.stderr


@pytest.mark.parametrize(("what", "code"), [("engine", 2), ("data", 2), ("weights", 2)])
def test_missing_files_are_named(
    make_engine: MakePath, data: Path, tmp_path: Path, what: str, code: int
) -> None:
    artifact = {"engine": tmp_path / "no.onnx", "weights": tmp_path / "no.pt"}.get(what)
    folder = tmp_path / "nowhere" if what == "data" else data
    done = evaluate(artifact or make_engine(), "--data", folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and ("no" in done.stderr)
