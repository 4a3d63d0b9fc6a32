"""Predictions, report, miss sheet and disk-backed arrays of an evaluation."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.dataset import labelled_images
from edge_ad.engine import ScriptedEngine
from edge_ad.errors import DataError, EdgeAdError, IncompatibleError, OutletLost, UsageError
from edge_ad.evaluation import disk_arrays
from edge_ad.evaluation.disk_arrays import DiskBackedArrays
from edge_ad.evaluation.miss_sheet import verdict_label, worst_misses, write_misses
from edge_ad.evaluation.predictions import ScoredImage, score_all
from edge_ad.evaluation.report import FITTED, STORED, build_report, stored_threshold, write_report
from edge_ad.evaluation.summary import count_misses
from edge_ad.files import sha256
from edge_ad.geometry import Geometry
from edge_ad.manifest import Sidecar, Threshold
from edge_ad.sidecar import save_sidecar


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write three normal images, two dents (one of them faint) and a stain without a mask."""
    for index, level in enumerate((40, 60, 120)):
        _save(tmp_path, "good", f"{index}.png", level)
    _save(tmp_path, "dent", "clear.png", 240, masked=True)
    _save(tmp_path, "dent", "faint.png", 90, masked=True)
    _save(tmp_path, "stain", "large.png", 200)
    return tmp_path


def _save(root: Path, kind: str, name: str, level: int, *, masked: bool = False) -> None:
    """Write a dark image with a block of `level`, and the mask of the block if `masked`."""
    image = np.full((48, 64, 3), 20, np.uint8)
    image[12:24, 16:32] = level
    _write(root / "test" / kind / name, image)
    if masked:
        mask = np.where(image > 30, 255, 0)[:, :, 0].astype(np.uint8)
        _write(root / "ground_truth" / kind / name.replace(".png", "_mask.png"), mask)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def score(data: Path, geometry: Geometry | None = None) -> tuple[list[ScoredImage], dict[str, str]]:
    left_out: dict[str, str] = {}
    return list(score_all(ScriptedEngine(), labelled_images(data), left_out, geometry)), left_out


def artifact(data: Path, *, threshold: float, geometry: Geometry | None = None) -> Path:
    path = data / "engine.onnx"
    path.write_bytes(b"an engine")
    stored = Threshold(
        image=threshold,
        pixel=threshold,
        false_alarm_rate=0.1,
        confidence=0.9,
        images=30,
        geometry=geometry or Geometry(),
    )
    save_sidecar(path, Sidecar(engine_sha256=sha256(path), threshold=stored))
    return path


def test_a_type_without_masks_counts_for_images_only(data: Path) -> None:
    result = build_report(*score(data))
    assert result["types_without_masks"] == ["stain"]
    assert result["by_type"]["stain"]["image_auroc"] == 1.0
    assert result["by_type"]["stain"]["pixel_ap"] is None
    assert result["defects"] == result["by_type"]["dent"]["defects"] == 2


def test_a_stored_threshold_counts_escapes_and_overkill(data: Path) -> None:
    result = build_report(*score(data), 0.4)
    assert result["at_threshold"] == {"image": 0.4, "from": STORED, "escapes": 1, "overkill": 1}
    assert (result["by_type"]["dent"]["escapes"], result["by_type"]["stain"]["escapes"]) == (1, 0)


def test_a_score_at_the_threshold_passes_as_on_the_line(data: Path) -> None:
    scored, _ = score(data)
    by_name = {item.sample.path.name: item.score for item in scored}
    assert count_misses(scored, by_name["2.png"]) == {"escapes": 1, "overkill": 0}
    assert count_misses(scored, by_name["faint.png"]) == {"escapes": 1, "overkill": 1}


def test_types_are_listed_by_name(data: Path) -> None:
    for kind in ("chip", "bubble", "rust"):
        _save(data, kind, "0.png", 200)
    result = build_report(*score(data))
    assert list(result["by_type"]) == ["bubble", "chip", "dent", "rust", "stain"]
    assert (result["by_type"]["rust"]["normal"], result["by_type"]["rust"]["anomalous"]) == (3, 1)


def test_without_any_mask_no_defect_is_counted(data: Path) -> None:
    scored = [item for item in score(data)[0] if item.sample.kind != "dent"]
    result = build_report(scored, {})
    assert (result["defects"], result["tiny_defects"], result["iap90"]) == (0, 0, None)


def test_without_a_threshold_the_best_f1_is_used(data: Path) -> None:
    result = build_report(*score(data))
    assert result["at_threshold"]["from"] == FITTED
    assert (result["at_threshold"]["escapes"], result["at_threshold"]["overkill"]) == (0, 1)


def test_a_threshold_of_another_engine_is_not_used(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = artifact(data, threshold=0.4)
    engine.write_bytes(b"exported again")
    assert stored_threshold(engine, Geometry(), Geometry()) is None
    assert "another engine" in caplog.text


def test_a_threshold_is_valid_only_for_its_geometry(data: Path) -> None:
    upper = Geometry(roi_xywh=(0, 0, 64, 24))
    engine = artifact(data, threshold=0.4, geometry=upper)
    assert stored_threshold(engine, upper, Geometry()) == 0.4
    with pytest.raises(IncompatibleError, match="--roi expected 0,0,64,24, got none"):
        stored_threshold(engine, Geometry(), Geometry())


def test_an_image_the_line_would_call_invalid_is_left_out(data: Path) -> None:
    _write(data / "test" / "good" / "black.png", np.zeros((48, 64, 3), np.uint8))
    scored, left_out = score(data)
    assert len(scored) == 6
    assert [Path(name).name for name in left_out] == ["black.png"]
    assert "black" in next(iter(left_out.values()))


def test_a_defect_outside_the_region_of_interest_is_listed(data: Path) -> None:
    result = build_report(*score(data, Geometry(roi_xywh=(40, 0, 24, 48))))
    names = [Path(name).name for name in result["hidden_defects"]]
    assert names == ["clear.png", "faint.png"] and result["pixel_ap"] is None


def test_ignored_polygons_that_cover_everything_are_an_error(data: Path) -> None:
    everything = Geometry(ignore=(((0, 0), (64, 0), (64, 48), (0, 48)),))
    with pytest.raises(UsageError, match=r"0\.png.*ignored polygons cover"):
        score(data, everything)


def test_a_mask_of_another_size_is_an_error(data: Path) -> None:
    _write(data / "ground_truth" / "dent" / "faint_mask.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError, match=r"faint_mask\.png.*9x9.*64x48"):
        score(data)


def test_an_engine_with_nan_output_is_an_error(data: Path) -> None:
    broken = ScriptedEngine(map_of=lambda image: np.full(image.shape[:2], np.nan, np.float32))
    with pytest.raises(EdgeAdError, match="scripted"):
        list(score_all(broken, labelled_images(data), {}))


@pytest.mark.parametrize("geometry", [Geometry(), Geometry(tiles=(2, 3), overlap=0.2)])
def test_frames_of_several_sizes_are_measured_together(data: Path, geometry: Geometry) -> None:
    """One tile always has the network's size; the map of several tiles may follow the frame's."""
    for name, hw in (("wide.png", (37, 101)), ("high.png", (151, 60))):
        image = np.full((*hw, 3), 25, np.uint8)
        image[4:30, 8:40] = 250
        _write(data / "test" / "dent" / name, image)
        mask = np.where(image > 30, 255, 0)[:, :, 0].astype(np.uint8)
        _write(data / "ground_truth" / "dent" / name.replace(".png", "_mask.png"), mask)
    scored, _ = score(data, geometry)
    if geometry.tile_count == 1:
        assert {item.values.shape for item in scored} == {(32, 32)}
    assert all(item.mask is None or item.mask.shape == item.values.shape for item in scored)
    assert build_report(scored, {})["pixel_auroc"] > 0.9


def test_the_report_folder_holds_curves_scores_and_images(data: Path) -> None:
    scored, left_out = score(data)
    result = build_report(scored, left_out, 0.4)
    folder = data / "report"
    write_report(folder, result, scored, Geometry())
    text = (folder / "report.json").read_text()
    assert '"pixel_pr"' in text and '"pro"' in text and "faint.png" in text
    assert all((folder / name).stat().st_size > 5000 for name in ("curves.png", "misses.png"))


def test_a_report_without_masks_has_plots_too(data: Path) -> None:
    scored = [item for item in score(data)[0] if item.sample.kind != "dent"]
    result = build_report(scored, {})
    write_report(data / "report", result, scored, Geometry())
    assert result["pixel_auroc"] is None and (data / "report" / "curves.png").exists()


def test_the_miss_sheet_shows_the_worst_first_with_their_verdicts(data: Path) -> None:
    scored, _ = score(data)
    names = [item.sample.path.name for item in worst_misses(scored, 2)]
    assert names == ["faint.png", "large.png", "2.png", "1.png"]
    labels = [verdict_label(item, 0.4) for item in worst_misses(scored, 2)]
    assert labels == ["ESCAPE", "rejected, correctly", "OVERKILL", "passed, correctly"]


def test_the_miss_sheet_accepts_a_map_that_is_mostly_ignored(data: Path) -> None:
    most = Geometry(ignore=(((0, 0), (64, 0), (64, 40), (0, 40)),))
    scored, _ = score(data, most)
    write_misses(scored, None, most, data / "misses.png")
    sheet = cv2.imread(str(data / "misses.png"))
    assert sheet is not None and sheet.shape[0] == len(scored) * 196


def test_stored_arrays_stay_valid_after_closing() -> None:
    originals = [np.arange(n, dtype=np.float32).reshape(1, n) for n in (3, 5000, 1)]
    with DiskBackedArrays() as arrays:
        stored = [arrays.put(array) for array in originals]
        flags = arrays.put(np.array([True, False]))
    for array, view in zip(originals, stored, strict=True):
        assert np.array_equal(array, view) and view.dtype == array.dtype
    assert flags.tolist() == [True, False]


def test_many_stored_arrays_keep_few_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_arrays, "_BLOCK", 1 << 16)
    before = len(os.listdir("/proc/self/fd"))
    with DiskBackedArrays() as arrays:
        stored = [arrays.put(np.full((16, 16), n, np.float32)) for n in range(300)]
    large = np.arange(1 << 15, dtype=np.float32)  # more than a block
    assert len(os.listdir("/proc/self/fd")) - before < 10
    assert all((view == n).all() and not view.flags.writeable for n, view in enumerate(stored))
    with DiskBackedArrays() as arrays:
        first, second = arrays.put(large[:5]), arrays.put(large)
    assert np.array_equal(first, large[:5]) and np.array_equal(second, large)


def test_a_full_disk_is_an_error_that_names_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def truncate(self, size: int) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with DiskBackedArrays() as arrays, pytest.raises(OutletLost, match=r"No space left.*TMPDIR"):
        arrays.put(np.zeros(4))
