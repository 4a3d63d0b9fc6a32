"""Thresholds of int8 candidates: the images they come from, and the parts they are compared on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_ad.calibration.quantize.eval_set import EvalSample, EvalSet, Predictions
from edge_ad.calibration.quantize.evaluator import Candidate
from edge_ad.calibration.quantize.threshold_check import (
    ThresholdCheck,
    ThresholdImages,
    threshold_images,
)
from edge_ad.calibration.thresholds.guarantee import Guarantee
from edge_ad.calibration.thresholds.images import ImageFolder
from edge_ad.calibration.thresholds.scores import By, draw_of_each
from edge_ad.data_split import DataSplit, ImageSet
from edge_ad.images import read_image
from edge_ad.manifest import Manifest, Threshold
from edge_ad.parts import identify

MANIFEST = Manifest(method="tiny", size_hw=(8, 8))
MakeFolder = Callable[..., Path]
FP32, INT8 = 0.5, 5.0  # their thresholds; int8's scores are ten times as large


class FakeEvaluator:
    """Evaluates to given scores; every sample of a part named `bad` is anomalous."""

    def __init__(self, parts: list[str], scores: list[float]) -> None:
        batch = np.zeros((1, 8, 8, 3), np.uint8)
        samples = [
            EvalSample(Path(f"{number}.png"), batch, (8, 8), part == "bad", None)
            for number, part in enumerate(parts)
        ]
        self.eval_set = EvalSet("labelled", tuple(samples), MANIFEST)
        self.reference = Predictions(np.array(scores, np.float32), [])

    def scores(self, candidate: Candidate) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.asarray(10 * self.reference.scores, np.float32)

    def threshold(self, candidate: Candidate | None, *_: object) -> dict[str, object]:
        value = FP32 if candidate is None else INT8
        return Threshold(
            image=value, pixel=value, false_alarm_rate=0.1, confidence=0.9, images=9
        ).to_dict()


def false_alarms(folder: Path, parts: list[str], scores: list[float], by: By) -> tuple[int, int]:
    check = ThresholdCheck(
        FakeEvaluator(parts, scores),  # type: ignore[arg-type]
        ThresholdImages(ImageFolder(folder), str, "each"),
        Guarantee(0.1, 0.9),
        by,
        part_of={Path(f"{number}.png"): part for number, part in enumerate(parts)},
    )
    alarms = check.alarms(Candidate("minmax"))
    assert (alarms.threshold, alarms.changed_verdicts) == (INT8, 0)
    assert alarms.fp32_false_alarms == alarms.false_alarms
    return alarms.false_alarms, alarms.normal


def test_only_normal_parts_raise_false_alarms(make_folder: MakeFolder) -> None:
    parts, scores = ["a", "a", "b", "bad", "bad"], [0.1, 0.9, 0.2, 0.9, 0.9]
    assert false_alarms(make_folder("normal", 1), parts, scores, "part") == (1, 2)


def test_by_image_one_image_of_each_part_decides(make_folder: MakeFolder) -> None:
    folder = make_folder("normal", 1)
    (drawn,) = draw_of_each([range(5)])
    for rejected in range(5):
        scores = [0.9 if number == rejected else 0.1 for number in range(5)]
        assert false_alarms(folder, ["a"] * 5, scores, "part") == (1, 1)
        assert false_alarms(folder, ["a"] * 5, scores, "image") == (rejected == drawn, 1)


@pytest.mark.parametrize(
    ("limit", "numbers"),
    [(100, range(12)), (12, range(12)), (7, [0, 1, 2, 6, 7, 8]), (1, [0, 1, 2])],
)
def test_whole_parts_evenly_spread_give_the_images(
    make_folder: MakeFolder, limit: int, numbers: range | list[int]
) -> None:
    folder = make_folder("normal", 12)
    for number in range(12):
        (folder / f"{number:03d}.png").rename(folder / f"part{number // 3}_{number:02d}.png")
    images = threshold_images(folder, MANIFEST, limit=limit, part_id=r"part(\d)", how=None)
    assert images is not None and len(images) == len(numbers)
    assert [int(name[6:8]) for name, _ in images] == list(numbers)


def test_another_file_or_another_part_is_another_origin(make_folder: MakeFolder) -> None:
    folder = make_folder("normal", 2)
    facts = ThresholdImages(ImageFolder(folder), str, "each").facts()
    assert ThresholdImages(ImageFolder(folder), str, "each").facts() == facts
    assert ThresholdImages(ImageFolder(folder), lambda name: "one part", "each").facts() != facts
    (folder / "000.png").write_bytes(b"another")
    assert ThresholdImages(ImageFolder(folder), str, "each").facts() != facts


def test_int8_gets_no_threshold_from_the_images_of_the_training(
    make_folder: MakeFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_folder("good", 3)
    trained = ImageSet.of(map(identify, sorted(folder.iterdir())), [])
    manifest = MANIFEST.replace(data_split=DataSplit(trained=trained))
    kept: dict[str, Any] = {"limit": 10, "part_id": r"(\d+)", "how": None}
    assert threshold_images(folder, manifest, **kept) is None
    assert "was trained on 3 of these 3 parts" in caplog.text
    for path in folder.iterdir():
        cv2.imwrite(str(path), 255 - read_image(path))
    assert threshold_images(folder, manifest, **kept) is not None
