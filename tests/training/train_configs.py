"""Small trainings: a teacher of random weights, striped parts, a few steps."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from edge_ad.frame import Image
from edge_ad.methods.destseg.training import TRAINING
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.learning.settings import parse_settings
from edge_ad.training.loop import TrainingProgress
from edge_ad.training.session import TrainConfig, train

torch.set_num_threads(1)  # nets this small lose more to handing work over than they gain

SMALL = {"network.width": 0.125, "batch": 2, "steps": 4, "student_share": 0.5}


def write_teacher(path: Path) -> Path:
    torch.manual_seed(7)
    torch.save(ResNet18((64, 128, 256)).state_dict(), path)
    return path


def part(seed: int, hw: tuple[int, int] = (48, 56)) -> Image:
    """Draw a normal part: vertical stripes under noise, in colour."""
    rng = np.random.default_rng(seed)
    stripes = 120 + 40 * np.sin(np.arange(hw[1]) / 3)
    noise = rng.normal(0, 6, (*hw, 3))
    return np.clip(stripes[None, :, None] * (1.0, 0.8, 0.6) + noise, 0, 255).astype(np.uint8)


def write_parts(folder: Path, count: int = 10) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:03}.png"), part(index))
    return folder


def tiny_training(folder: Path, output: str = "destseg.pt", **changes: Any) -> TrainConfig:
    """Configure a training of four steps at 32x32; `settings` in `changes` adds to SMALL."""
    settings = parse_settings(TRAINING, {**SMALL, **changes.pop("settings", {})})
    chosen: dict[str, Any] = {
        "method": "destseg",
        "data": folder / "parts",
        "output": folder / output,
        "size_hw": (32, 32),
        "settings": settings,
        "teacher": folder / "teacher.pth",
        "device": "cpu",
    }
    return TrainConfig(**{**chosen, **changes})


def run(config: TrainConfig, stop_after: int | None = None) -> dict[str, Any]:
    """Train; set `stop` after `stop_after` steps."""
    stop = threading.Event()

    def on_step(progress: TrainingProgress) -> None:
        if progress.step == stop_after:
            stop.set()

    return train(config, stop, on_step)
