"""The whole line, small: images of good plates become a detector that finds planted defects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_ad.images import write_image
from edge_ad.sample.check import compare, read_truth
from edge_ad.sample.footage import film
from edge_ad.synthetic_line import Defect, SyntheticLine, SyntheticLineSpec

SIZE_WH = (160, 120)
ROI = "35,27,90,66"  # the plates' lane in frames of that size
RATE = 0.02
STEP = 7  # frames between two images
PLAN = (
    None,
    Defect("stain", 1.0, 1.0),
    None,
    Defect("stain", 0.8, 0.8),
    None,
    Defect("dent", 1.0, 1.0),
    None,
    Defect("scratch", 1.0, 1.0),
    None,
)


def edge_ad(*words: object) -> str:
    command = [sys.executable, "-m", "edge_ad", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_good(folder: Path, seed: int, count: int) -> None:
    line = SyntheticLine(SyntheticLineSpec(seed=seed, size_wh=SIZE_WH, defects=0.0))
    first = line.frames_until(1) // 2
    for number in range(count):
        image = line.shot(first + number * STEP).image
        write_image(folder / f"{seed}-{number:03}.png", image)


def train(good: Path, weights: Path, shared: Path) -> None:
    teacher = shared / "data" / "weights" / "resnet18_imagenet_stem_to_layer3.pth"
    small = ("--size", "64x96", "--width", 0.25, "--batch", 8, "--steps", 280)
    split = ("--set", "student_share=0.4", "--set", "synthesis.structural_share=0.5")
    fixed = ("--rotation", "none", "--branch", "segmentation", "--roi", ROI, "--seed", 0)
    where = ("--data", good, "--teacher", teacher, "-o", weights)
    edge_ad("train", "--method", "destseg", *where, *small, *split, *fixed)


def share_rejected(records: list[dict[str, Any]], truth: dict[str, Any]) -> float:
    """Of the frames that show no defect: neighbours are alike, so more than promised may fail."""
    good: list[bool] = [
        record["verdict"] == "REJECT"
        for record in records
        if record["type"] == "inspection" and not truth["visible"].get(record["frame"])
    ]
    return sum(good) / len(good)


def judged(engine: Path, camera: Path) -> list[dict[str, Any]]:
    lines = edge_ad("run", "--camera", camera, "--engine", engine, "--json").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_detector_trained_on_good_plates_finds_the_planted_defects(
    tmp_path: Path, shared: Path
) -> None:
    good, held_back, camera = tmp_path / "good", tmp_path / "held-back", tmp_path / "film.mp4"
    for seed in (1, 4, 5):
        write_good(good, seed, 80)
    write_good(held_back, 2, 200)
    line = SyntheticLine(SyntheticLineSpec(seed=3, size_wh=SIZE_WH, plan=PLAN))
    film(line, line.frames_until(len(PLAN)), camera)
    engine = tmp_path / "destseg.onnx"
    train(good, tmp_path / "destseg.pt", shared)
    edge_ad("export", tmp_path / "destseg.pt", "-o", engine)
    edge_ad("threshold", engine, "--images", held_back, "--false-alarm-rate", RATE)
    records, truth = judged(engine, camera), read_truth(tmp_path / "film.mp4.yaml")
    outcome = compare(records, truth)
    assert len(outcome.planted) == 4 and outcome.missed == [], outcome.summary()
    assert share_rejected(records, truth) < 3 * RATE
