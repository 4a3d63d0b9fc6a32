"""`edge-ad verify`: differences, rank order, flipped verdicts, and their limits."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edge_ad.engine import Prediction
from edge_ad.export.difference_sheet import difference_sheet
from edge_ad.export.parity import ROUNDED_WEIGHTS, TOLERANCE, Tolerance
from edge_ad.export.triton import TritonConfig, export_triton
from edge_ad.export.verification import WEIGHTS_NOTE, tolerance_between, verify
from edge_ad.files import sha256
from edge_ad.images import write_image
from edge_ad.manifest import Manifest, Provenance, Sidecar, Threshold
from edge_ad.onnx_graph.load import set_manifest
from edge_ad.sidecar import save_sidecar
from tests.export.graphs import MANIFEST, drawn
from tests.export.models import run
from tests.triton_server import ServedFolder

LOOSE = Tolerance(1.0, "set by a test")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Make an engine and one whose weights are 2 % larger, in a folder with ten images."""
    for name, weight in (("a.onnx", 0.01), ("b.onnx", 0.0102)):
        onnx.save(drawn("z = Relu (c)", weight=weight), tmp_path / name)
    for index in range(10):
        image = np.random.default_rng(index).integers(0, 25 * (index + 1), (20, 20, 3))
        write_image(tmp_path / "images" / f"{index}.png", image.astype(np.uint8))
    return tmp_path / "a.onnx", tmp_path / "b.onnx"


def prediction(*scores: float) -> Prediction:
    values = np.array(scores, np.float32)
    return Prediction(np.tile(values[:, None, None], (1, 4, 4)), values)


def verified(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object]]:
    code = run("verify", *words, "--json")
    (line,) = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert isinstance(result, dict)
    return code, result


def test_a_served_model_is_named_by_its_address(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_triton([pair[0]], TritonConfig(repository=tmp_path / "models", name="part", max_batch=1))
    server = ServedFolder(tmp_path / "models").start()
    try:
        uri = f"triton://127.0.0.1:{server.port}/part"
        sheet = tmp_path / "sheet.png"
        code, result = verified(capsys, pair[0], uri, "--threshold", 1.0, "--sheet", sheet)
    finally:
        server.stop()
    assert (code, result["other"], result["max_abs_map"]) == (0, uri, 0)


def test_a_file_agrees_with_itself(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = verified(capsys, pair[0], pair[0], "--threshold", 1.0)
    assert code == 0
    assert (result["max_abs_map"], result["max_abs_score"]) == (0, 0)
    assert (result["spearman"], result["verdict_flips"]) == (pytest.approx(1), 0)
    assert result["frames"] == 64


def test_another_file_is_reported_with_figures_and_sheet(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    images = pair[0].parent / "images"
    code, result = verified(capsys, *pair, "--images", images)
    assert code == 4
    assert (result["frames"], result["anomalous"]) == (20, 10)
    assert result["within"] is False
    share = float(str(result["max_abs_map"])) / float(str(result["map_scale"]))
    assert share == pytest.approx(1.02**3 - 1, rel=0.01)  # all three layers grow by 2 %
    assert result["spearman"] == pytest.approx(1)
    sheet = cv2.imread(str(result["sheet"]))
    assert sheet is not None
    assert sheet.shape[1] == 4 * 244


def test_a_wider_tolerance_lets_it_pass(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(capsys, *pair, "--tolerance", 0.07)[0] == 0


def test_the_stored_threshold_is_used(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    threshold = Threshold(image=0.5, pixel=0.5, false_alarm_rate=0.01, confidence=0.9, images=9)
    save_sidecar(pair[1], Sidecar(engine_sha256=sha256(pair[1]), threshold=threshold))
    assert verified(capsys, *pair)[1]["threshold"] == 0.5


def test_without_a_threshold_no_verdicts_are_compared(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify", *pair, "--tolerance", 1) == 0
    assert "not compared; give --threshold" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scores", "flips", "far"),
    [
        pytest.param((0.5, 2.0), 0, 0, id="same verdicts"),
        pytest.param((1.2, 2.0), 1, 1, id="a pass becomes a reject"),
        pytest.param((0.5, 0.9), 1, 1, id="a reject becomes a pass"),
        pytest.param((0.5, 1.0), 1, 1, id="at the threshold is a pass"),
    ],
)
def test_flips_are_counted(scores: tuple[float, float], flips: int, far: int) -> None:
    result = verify(prediction(0.5, 2.0), prediction(*scores), LOOSE, 1.0)
    assert (result.flips, result.far_flips) == (flips, far)
    assert bool(result.problem) is bool(far)


def test_a_flip_near_the_threshold_is_allowed() -> None:
    result = verify(prediction(0.995, 2.0), prediction(1.004, 2.0), LOOSE, 1.0)
    assert (result.flips, result.far_flips, result.problem) == (1, 0, "")


def test_a_coarser_precision_may_flip_farther_from_the_threshold() -> None:
    result = verify(prediction(0.95, 2.0), prediction(1.01, 2.0), TOLERANCE["int8"], 1.0)
    assert (result.flips, result.far_flips) == (1, 0)


def manifest(**changes: object) -> Manifest:
    return MANIFEST.replace(**changes)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(manifest(), manifest(), TOLERANCE["fp32"], id="both fp32"),
        pytest.param(
            manifest(precision="int8"), manifest(precision="fp16"), TOLERANCE["int8"], id="coarser"
        ),
        pytest.param(
            manifest(),
            manifest(provenance=Provenance(notes={WEIGHTS_NOTE: "int8"})),
            ROUNDED_WEIGHTS,
            id="rounded weights",
        ),
    ],
)
def test_the_coarser_side_sets_the_tolerance(
    first: Manifest, second: Manifest, expected: Tolerance
) -> None:
    assert tolerance_between(first, second) == expected
    assert tolerance_between(second, first) == expected


def test_the_sheet_begins_with_the_largest_difference() -> None:
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    frames[1] = 255  # the frame whose maps differ most
    sheet = difference_sheet(frames, prediction(1, 1, 1), prediction(1.1, 1.9, 1.2), count=2)
    assert sheet[60, 120].tolist() == [255, 255, 255]
    assert sheet[60 + 244, 120].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        pytest.param(["a.onnx", "none.onnx"], 2, "no engine at", id="missing"),
        pytest.param(["none.pt", "a.onnx"], 2, "no weights at", id="missing weights"),
        pytest.param(["a.onnx", "cut.onnx"], 3, "cut off", id="truncated"),
        pytest.param(["a.onnx", "other.onnx"], 2, "method drawn against other", id="method"),
        pytest.param(["a.onnx", "a.onnx", "--images", "none"], 2, "no such folder", id="images"),
        pytest.param(["a.onnx", "a.onnx", "--sheet", "a.txt"], 2, "ends in .png", id="sheet"),
        pytest.param(
            ["a.onnx", "a.onnx", "--sheet", "a.onnx/s.png"], 6, "cannot be written", id="no folder"
        ),
        pytest.param(["a.onnx"], 2, "OTHER", id="one file"),
    ],
)
def test_what_cannot_be_compared_is_explained(
    words: list[str],
    code: int,
    text: str,
    pair: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(pair[0].parent)
    Path("cut.onnx").write_bytes(pair[0].read_bytes()[:-30])
    model = drawn("z = Relu (c)")
    set_manifest(model, manifest(method="other"))
    onnx.save(model, "other.onnx")
    assert run("verify", *words) == code
    message = capsys.readouterr().err
    assert text in message
    assert "Traceback" not in message


def test_numbers_that_are_not_finite_fail(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(drawn("l = Log (c) z = Relu (l)"), pair[1])
    assert run("verify", *pair) == 4
    assert "not finite" in capsys.readouterr().err
