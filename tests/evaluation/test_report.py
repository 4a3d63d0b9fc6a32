"""From a detector and a data set to a report: what counts, what does not, what the sheet says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.dataset import labelled_images
from edge_ad.engine import ScriptedEngine
from edge_ad.errors import DataError, EdgeAdError, IncompatibleError, OutletLost, UsageError
from edge_ad.evaluation.disk_arrays import DiskBackedArrays
from edge_ad.evaluation.miss_sheet import verdict_word, worst_misses, write_misses
from edge_ad.evaluation.predictions import LeftOut, ScoredImage, score_all
from edge_ad.evaluation.report import FITTED, STORED, report_of, stored_threshold, write_report
from edge_ad.files import sha256
from edge_ad.geometry import Geometry
from edge_ad.manifest import Sidecar, Threshold, save_sidecar


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three normal images; two dents, one of them faint; one stain without a mask."""
    for index, level in enumerate((40, 60, 120)):
        _save(tmp_path, "good", f"{index}.png", level)
    _save(tmp_path, "dent", "clear.png", 240, masked=True)
    _save(tmp_path, "dent", "faint.png", 90, masked=True)
    _save(tmp_path, "stain", "large.png", 200)
    return tmp_path


def _save(root: Path, kind: str, name: str, level: int, *, masked: bool = False) -> None:
    """A dark image with one block of `level`, at a place inside the mask when there is one."""
    image = np.full((48, 64, 3), 20, np.uint8)
    image[12:24, 16:32] = level
    _write(root / "test" / kind / name, image)
    if masked:
        mask = np.where(image > 30, 255, 0)[:, :, 0].astype(np.uint8)
        _write(root / "ground_truth" / kind / name.replace(".png", "_mask.png"), mask)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def judge(data: Path, geometry: Geometry | None = None) -> tuple[list[ScoredImage], LeftOut]:
    left_out = LeftOut()
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
        geometry=geometry,
    )
    save_sidecar(path, Sidecar(engine_sha256=sha256(path), threshold=stored))
    return path


def test_a_type_without_masks_counts_for_images_only(data: Path) -> None:
    found = report_of(*judge(data))
    assert found["types_without_masks"] == ["stain"]
    assert found["by_type"]["stain"]["image_auroc"] == 1.0
    assert found["by_type"]["stain"]["pixel_ap"] is None
    assert found["defects"] == found["by_type"]["dent"]["defects"] == 2


def test_a_stored_threshold_tells_escapes_from_overkill(data: Path) -> None:
    found = report_of(*judge(data), 0.4)
    assert found["at_threshold"] == {"image": 0.4, "from": STORED, "escapes": 1, "overkill": 1}
    assert (found["by_type"]["dent"]["escapes"], found["by_type"]["stain"]["escapes"]) == (1, 0)


def test_without_one_the_best_f1_decides(data: Path) -> None:
    found = report_of(*judge(data))
    assert found["at_threshold"]["from"] == FITTED
    assert (found["at_threshold"]["escapes"], found["at_threshold"]["overkill"]) == (0, 1)


def test_a_threshold_of_another_engine_is_not_used(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = artifact(data, threshold=0.4)
    engine.write_bytes(b"exported anew")
    assert stored_threshold(engine, Geometry(), Geometry()) is None
    assert "another engine" in caplog.text


def test_a_threshold_counts_for_the_geometry_it_was_set_with(data: Path) -> None:
    upper = Geometry(roi_xywh=(0, 0, 64, 24))
    engine = artifact(data, threshold=0.4, geometry=upper)
    assert stored_threshold(engine, upper, Geometry()) == 0.4
    with pytest.raises(IncompatibleError, match="--roi expected 0,0,64,24, got none"):
        stored_threshold(engine, Geometry(), Geometry())


def test_a_image_the_line_would_not_judge_is_left_out(data: Path) -> None:
    _write(data / "test" / "good" / "black.png", np.zeros((48, 64, 3), np.uint8))
    judged, left_out = judge(data)
    assert len(judged) == 6
    assert [Path(name).name for name in left_out.reasons] == ["black.png"]
    assert "black" in next(iter(left_out.reasons.values()))


def test_a_defect_outside_the_region_of_interest_is_told(data: Path) -> None:
    found = report_of(*judge(data, Geometry(roi_xywh=(40, 0, 24, 48))))
    names = [Path(name).name for name in found["defects_out_of_sight"]]
    assert names == ["clear.png", "faint.png"] and found["pixel_ap"] is None


def test_ignored_polygons_that_cover_everything_are_an_error(data: Path) -> None:
    everything = Geometry(ignore=(((0, 0), (64, 0), (64, 48), (0, 48)),))
    with pytest.raises(UsageError, match=r"0\.png.*cover all"):
        judge(data, everything)


def test_a_mask_of_another_size_is_an_error(data: Path) -> None:
    _write(data / "ground_truth" / "dent" / "faint_mask.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError, match=r"faint_mask\.png.*9x9.*64x48"):
        judge(data)


def test_an_engine_that_answers_nonsense_is_an_error(data: Path) -> None:
    broken = ScriptedEngine(map_of=lambda image: np.full(image.shape[:2], np.nan, np.float32))
    with pytest.raises(EdgeAdError, match="not numbers"):
        list(score_all(broken, labelled_images(data), LeftOut()))


@pytest.mark.parametrize("geometry", [Geometry(), Geometry(tiles=(2, 3), overlap=0.2)])
def test_frames_of_several_sizes_are_measured_together(data: Path, geometry: Geometry) -> None:
    """One tile always has the network's canvas; the canvas of several may follow the frame's."""
    for name, hw in (("wide.png", (37, 101)), ("high.png", (151, 60))):
        image = np.full((*hw, 3), 25, np.uint8)
        image[4:30, 8:40] = 250
        _write(data / "test" / "dent" / name, image)
        mask = np.where(image > 30, 255, 0)[:, :, 0].astype(np.uint8)
        _write(data / "ground_truth" / "dent" / name.replace(".png", "_mask.png"), mask)
    judged, _ = judge(data, geometry)
    if geometry.tile_count == 1:
        assert {one.values.shape for one in judged} == {(32, 32)}
    assert all(one.mask is None or one.mask.shape == one.values.shape for one in judged)
    assert report_of(judged, LeftOut())["pixel_auroc"] > 0.9


def test_the_report_folder_holds_curves_scores_and_images(data: Path) -> None:
    judged, left_out = judge(data)
    result = report_of(judged, left_out, 0.4)
    folder = data / "report"
    write_report(folder, result, judged, Geometry())
    text = (folder / "report.json").read_text()
    assert '"pixel_pr"' in text and '"pro"' in text and "faint.png" in text
    assert all((folder / name).stat().st_size > 5000 for name in ("curves.png", "misses.png"))


def test_a_report_without_any_mask_has_images_too(data: Path) -> None:
    judged = [one for one in judge(data)[0] if one.sample.kind != "dent"]
    result = report_of(judged, LeftOut())
    write_report(data / "report", result, judged, Geometry())
    assert result["pixel_auroc"] is None and (data / "report" / "curves.png").exists()


def test_the_sheet_shows_the_worst_first_and_names_what_they_are(data: Path) -> None:
    judged, _ = judge(data)
    names = [one.sample.path.name for one in worst_misses(judged, 2)]
    assert names == ["faint.png", "large.png", "2.png", "1.png"]
    words = [verdict_word(one, 0.4) for one in worst_misses(judged, 2)]
    assert words == ["ESCAPE", "rejected, rightly", "OVERKILL", "passed, rightly"]


def test_the_sheet_takes_a_map_that_is_mostly_ignored(data: Path) -> None:
    most = Geometry(ignore=(((0, 0), (64, 0), (64, 40), (0, 40)),))
    judged, _ = judge(data, most)
    write_misses(judged, None, most, data / "misses.png")
    sheet = cv2.imread(str(data / "misses.png"))
    assert sheet is not None and sheet.shape[0] == len(judged) * 196


def test_a_shelf_gives_back_what_it_was_given_after_it_is_closed() -> None:
    arrays = [np.arange(n, dtype=np.float32).reshape(1, n) for n in (3, 5000, 1)]
    with DiskBackedArrays() as shelf:
        kept = [shelf.put(array) for array in arrays]
        flags = shelf.put(np.array([True, False]))
    for array, view in zip(arrays, kept, strict=True):
        assert np.array_equal(array, view) and view.dtype == array.dtype
    assert flags.tolist() == [True, False]


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def seek(self, place: int) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with DiskBackedArrays() as shelf, pytest.raises(OutletLost, match=r"No space left.*TMPDIR"):
        shelf.put(np.zeros(4))
