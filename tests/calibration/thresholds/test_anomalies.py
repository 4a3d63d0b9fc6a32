"""Escapes: labelled and synthetic anomalies that pass at a threshold."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.calibration.thresholds.anomalies import (
    FEWEST,
    MOST,
    AnomalyScores,
    SyntheticAnomalies,
    anomalous_samples,
    check_escapes,
    describe_escapes,
    score_labelled,
)
from edge_ad.calibration.thresholds.plot import cost_curve
from edge_ad.calibration.thresholds.scores import NormalScores
from edge_ad.dataset import Sample
from edge_ad.engine import ScriptedEngine
from edge_ad.errors import DataError, GateFailed, UsageError
from edge_ad.geometry import Geometry
from edge_ad.images import write_image
from edge_ad.manifest import Threshold
from tests.conftest import part_image
from tests.part_images import part

WHOLE = Geometry()
NORMAL = NormalScores(["a", "b"], [0.1, 0.7], [0.1, 0.7])


def threshold(image: float, pixel: float = 0.0) -> Threshold:
    return Threshold(image=image, pixel=pixel, false_alarm_rate=0.05, confidence=0.95, images=60)


def labelled(scores: list[float], kinds: list[str] | None = None) -> AnomalyScores:
    return AnomalyScores("labelled", kinds or ["scratch"] * len(scores), scores, scores)


def test_escapes_are_counted_in_all_and_by_kind() -> None:
    anomalies = labelled([0.1, 0.5, 0.6, 0.9], ["dent", "dent", "scratch", "scratch"])
    result = describe_escapes(threshold(0.5), anomalies)
    assert (result["count"], result["images"], result["share"]) == (2, 4, 0.5)
    assert result["low"] == pytest.approx(0.0676, abs=1e-3) and result["kind"] == "labelled"
    assert result["kinds"]["dent"]["count"] == 2, "a score at the threshold passes"
    assert result["kinds"]["scratch"]["share"] == 0
    assert sum(each["images"] for each in result["kinds"].values()) == result["images"]


def test_the_threshold_keeps_its_escapes() -> None:
    kept = check_escapes(threshold(0.5), labelled([0.1, 0.9]), NORMAL).escapes
    assert kept is not None and (kept.count, kept.images, kept.kind) == (1, 2, "labelled")


@pytest.mark.parametrize(("image", "pixel", "unit"), [(1.0, 0.0, "image"), (0.0, 1.0, "pixel")])
def test_a_threshold_that_no_anomaly_exceeds_is_refused(
    image: float, pixel: float, unit: str
) -> None:
    with pytest.raises(
        GateFailed, match=f"none of 3 labelled .* exceeds the {unit} threshold 1.*b 0.7"
    ):
        check_escapes(threshold(image, pixel), labelled([0.3, 0.9, 1.0]), NORMAL)


def drawn(count: int, geometry: Geometry = WHOLE) -> tuple[list[NDArray[np.uint8]], AnomalyScores]:
    """Return the images that a scripted engine was shown, and the scores."""
    shown: list[NDArray[np.uint8]] = []

    def keep(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        shown.append(image.copy())
        return np.zeros(image.shape[:2], np.float32)

    synthetic = SyntheticAnomalies(ScriptedEngine(map_of=keep), geometry, count)
    for seed in range(count):
        synthetic(f"{seed}.png", part(seed, (32, 32)))
    return shown, synthetic.finish()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "expected"), [(1, FEWEST), (29, FEWEST), (40, 40), (601, 201), (900, MOST)]
)
def test_the_number_of_synthetic_anomalies(images: int, expected: int) -> None:
    _, scores = drawn(images)
    assert len(scores.image) == expected
    assert set(scores.kinds) == {"structural", "texture", "cut-paste"}


def test_synthetic_anomalies_are_the_same_for_the_same_images() -> None:
    first, _ = drawn(6)
    again, _ = drawn(6)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[6]), "the same image gets different anomalies"


def test_synthetic_anomalies_lie_where_the_line_looks() -> None:
    ignored = ((0, 0), (31, 0), (31, 15), (0, 15))
    shown, _ = drawn(30, Geometry(ignore=(ignored,)))
    for seed, image in enumerate(shown):
        changed = (image != part(seed, (32, 32))).any(axis=2)
        assert changed.any() and not changed[:16].any()


def test_anomalies_that_miss_the_little_that_is_judged_leave_the_image_as_it_is() -> None:
    shown, _ = drawn(30, Geometry(ignore=(((0, 0), (31, 0), (31, 30), (0, 30)),)))
    changed = [(image != part(seed, (32, 32))).any(axis=2) for seed, image in enumerate(shown)]
    assert not any(one[:31].any() for one in changed)
    assert not all(one.any() for one in changed)


def test_synthetic_anomalies_lie_in_the_region_of_interest() -> None:
    shown: list[NDArray[np.uint8]] = []

    def keep(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        shown.append(image.copy())
        return np.zeros(image.shape[:2], np.float32)

    region = Geometry(roi_xywh=(64, 0, 32, 32))
    synthetic = SyntheticAnomalies(ScriptedEngine(map_of=keep), region, 9)
    wide = [part(seed, (48, 96)) for seed in range(9)]
    for number, image in enumerate(wide):
        synthetic(f"{number}.png", image)
    for one, image in zip(shown, wide, strict=True):
        assert (one != image[:32, 64:96]).any()


def test_a_folder_of_anomalous_images_with_folders_for_kinds(tmp_path: Path) -> None:
    for name in ("a.png", "dent/b.png", "dent/c.png", "dent/masks/b.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        cv2.imwrite(str(path), part_image(spot=True))
    (tmp_path / "dent" / "black.png").write_bytes(b"")
    samples = anomalous_samples(tmp_path)
    assert sorted(sample.kind for sample in samples) == ["anomalous", "dent", "dent", "dent"]
    scores = score_labelled(ScriptedEngine(size_hw=(64, 64)), samples, WHOLE)
    assert scores.image == pytest.approx([250 / 255] * 3)
    assert len(scores.left_out) == 1 and "black.png" in next(iter(scores.left_out))


def test_of_a_labelled_data_set_the_anomalous_images_count(tmp_path: Path) -> None:
    for place in ("train/good", "test/good", "test/dent"):
        (tmp_path / place).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / place / "a.png"), part_image(spot=place == "test/dent"))
    assert [sample.kind for sample in anomalous_samples(tmp_path)] == ["dent"]


def test_where_masks_alone_say_what_is_anomalous_none_may_be_missing(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for name, marked in (("1", False), ("2", True)):
            cv2.imwrite(str(tmp_path / split / f"{name}.png"), part_image())
            mask = np.zeros((64, 64), np.uint8)
            mask[8:20, 20:32] = 255 * marked
            cv2.imwrite(str(tmp_path / split / f"{name}_GT.png"), mask)
    assert {sample.path.name for sample in anomalous_samples(tmp_path)} == {"2.png"}
    (tmp_path / "test" / "2_GT.png").unlink()
    with pytest.raises(DataError, match=r"1 files do not pair.*2\.png"):
        anomalous_samples(tmp_path)


def test_an_anomalous_image_that_the_geometry_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dent.png"
    write_image(path, part(0))
    geometry = Geometry(roi_xywh=(0, 0, 4000, 4000))
    with pytest.raises(UsageError, match=r"dent\.png: the region of interest"):
        score_labelled(ScriptedEngine(), [Sample(path, "dent")], geometry)


def test_folders_without_anomalous_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        anomalous_samples(tmp_path / "none")
    with pytest.raises(DataError, match="no anomalous image"):
        anomalous_samples(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="no anomalous image can be judged"):
        score_labelled(ScriptedEngine(), anomalous_samples(tmp_path), WHOLE)
    with pytest.raises(DataError, match="as normal by --images and as anomalous"):
        anomalous_samples(tmp_path, [tmp_path / "a.png"])


def test_the_curve_runs_from_all_escape_to_all_rejected() -> None:
    alarms, escapes = cost_curve(np.array([0.1, 0.2, 0.4, 0.4]), np.array([0.3, 0.4, 0.9]))
    curve = list(zip(alarms.tolist(), np.round(escapes, 3).tolist(), strict=True))
    assert curve == [
        (0, 1), (0, 0.667), (0.5, 0.333), (0.5, 0), (0.75, 0), (1, 0),
    ]  # fmt: skip


def test_normal_images_beside_the_anomalous_ones_do_not_count(tmp_path: Path) -> None:
    for name in ("OK/a.png", "dent/b.png"):
        path = tmp_path / name
        path.parent.mkdir()
        cv2.imwrite(str(path), part_image())
    assert [sample.path.name for sample in anomalous_samples(tmp_path)] == ["b.png"]


def test_folders_of_lots_may_have_normal_images_too(tmp_path: Path) -> None:
    for name in ("lot1/dent/a.png", "lot1/good/b.png", "lot2/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), part_image())
    kinds = {sample.path.name: sample.kind for sample in anomalous_samples(tmp_path)}
    assert kinds == {"a.png": "lot1/dent", "c.png": "lot2"}


def test_a_data_set_without_anomalous_images_names_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("good/a.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), part_image())
    with pytest.raises(DataError, match=r"Plain folders.*like .*b\.png.*the anomalous ones alone"):
        anomalous_samples(tmp_path)
