"""Settings that make every method train in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.parts import How
from edge_ad.training.train_config import TrainConfig

SIZE = (32, 32)
# a method that is not named here trains with its preset `edge`
TINY: dict[str, dict[str, Any]] = {
    # the published rates belong to a teacher that is not random
    "destseg": {"network.width": 0.125, "lr_student": 0.01, "lr_res": 0.001, "lr_head": 0.001},
    "draem": {"network.rec_base": 4, "network.seg_base": 4},
    "clflow": {
        "network.backbone": "resnet18",
        "network.flow_steps": 2,
        "network.hidden_ratio": 0.1,
        "warmup": 0.5,
    },
    "ear": {
        "network.attention": "none",
        "network.widths": (4, 4, 8),
        "network.mosaic_px": 4,
        "network.smooth_sigma": 1.0,
    },
    "pmb": {
        "network.widths": (4, 4, 8, 8),
        "network.bottleneck": 8,
        "network.partitions": (2, 2, 2, 2),
        "network.items": 4,
    },
}


def tiny_config(
    method: str, data: Path, output: Path, teacher: Path, **changes: Any
) -> TrainConfig:
    """Configure a training of four steps; `changes` are settings, with __ in place of the dot."""
    named = {name.replace("__", "."): value for name, value in changes.items()}
    given = {"steps": 4, "batch": 2, **TINY.get(method, {}), **named}
    preset = None if method in TINY else "edge"
    settings = parse_settings(load_training(method), given, preset)
    return TrainConfig(method, data, output, SIZE, settings, teacher=teacher, parts_from=How.EACH)
