"""The whole path, small: images of normal plates become a detector that finds defects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_ad.images import write_image
from edge_ad.sample.check import compare, read_truth
from edge_ad.sample.footage import record
from edge_ad.synthetic_line import Defect, SyntheticLine, SyntheticLineSpec

SIZE_WH = (160, 120)
ROI = "35,27,90,66"  # the plates' lane in frames of that size
RATE = 0.1
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


def edge_ad(*args: object) -> str:
    command = [sys.executable, "-m", "edge_ad", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_normal(folder: Path, seed: int, count: int) -> None:
    line = SyntheticLine(SyntheticLineSpec(seed=seed, size_wh=SIZE_WH, defects=0.0))
    first = line.frames_until(1) // 2
    for number in range(count):
        image = line.frame_at(first + number * STEP).image
        write_image(folder / f"{seed}-{number:03}.png", image)


def train(normal: Path, weights: Path, shared: Path) -> None:
    teacher = shared / "data" / "weights" / "resnet18_imagenet_stem_to_layer3.pth"
    small = ("--size", "64x96", "--width", 0.25, "--batch", 8, "--steps", 280)
    split = ("--set", "student_share=0.4", "--set", "synthesis.structural_share=0.5")
    fixed = ("--rotation", "none", "--branch", "segmentation", "--roi", ROI, "--seed", 0)
    where = ("--data", normal, "--teacher", teacher, "-o", weights)
    edge_ad("train", "--method", "destseg", *where, *small, *split, *fixed)


def share_rejected(records: list[dict[str, Any]], truth: dict[str, Any]) -> float:
    """Return the share of defect-free frames that are rejected.

    Neighbouring frames are alike, so it may exceed the configured rate.
    """
    rejected: list[bool] = [
        record["verdict"] == "REJECT"
        for record in records
        if record["type"] == "inspection" and not truth["visible"].get(record["frame"])
    ]
    return sum(rejected) / len(rejected)


def run(engine: Path, camera: Path) -> list[dict[str, Any]]:
    output = edge_ad("run", "--camera", camera, "--engine", engine, "--json")
    return [json.loads(record) for record in output.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_detector_trained_on_normal_plates_detects_the_defects(
    tmp_path: Path, shared: Path
) -> None:
    normal, camera = tmp_path / "normal", tmp_path / "video.mp4"
    for seed in (1, 4, 5):
        write_normal(normal, seed, 80)
    line = SyntheticLine(SyntheticLineSpec(seed=3, size_wh=SIZE_WH, plan=PLAN))
    record(line, line.frames_until(len(PLAN)), camera)
    held_back = tmp_path / "held-back.mp4"  # the line as its camera sees it, compressed
    line = SyntheticLine(SyntheticLineSpec(seed=2, size_wh=SIZE_WH, defects=0.0))
    per_part = line.frames_until(2) - line.frames_until(1)
    record(line, line.frames_until(30), held_back)
    engine = tmp_path / "destseg.onnx"
    train(normal, tmp_path / "destseg.pt", shared)
    edge_ad("export", tmp_path / "destseg.pt", "-o", engine)
    parts = ("--frames-per-part", per_part, "--false-alarm-rate", RATE)
    edge_ad("threshold", engine, "--images", held_back, *parts)
    records, truth = run(engine, camera), read_truth(tmp_path / "video.mp4.yaml")
    result = compare(records, truth)
    assert len(result.kinds) == 4 and result.missed == [], result.summary()
    assert share_rejected(records, truth) < 3 * RATE
