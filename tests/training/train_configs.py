"""Small trainings: a teacher of random weights, striped parts, a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import torch

from edge_ad.methods.destseg.training import TRAINING
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.parts import How
from edge_ad.training.train_config import TrainConfig
from tests.part_images import striped_part
from tests.torch_setup import NARROW, make_torch_quick

make_torch_quick()

SMALL = {"network.width": 0.125, "batch": 2, "steps": 4, "student_share": 0.5}


def write_teacher(path: Path, channels: tuple[int, ...] = NARROW) -> Path:
    torch.manual_seed(7)
    torch.save(ResNet18(channels).state_dict(), path)
    return path


def write_parts(folder: Path, count: int = 10) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:03}.png"), striped_part(index))
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
        "parts_from": How.EACH,  # comparing the images takes a fifth of the time
    }
    return TrainConfig(**{**chosen, **changes})
