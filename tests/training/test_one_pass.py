"""A phase that collects from every tile once, after phases that trained."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.trainer import Phase
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.textures import ProceduralTextures
from edge_ad.training.data import BatchSampler
from edge_ad.training.loop import Interrupted, TrainingLoop, TrainingOptions

TILES, SIZE = 10, 2


class Collector:
    """Trains for a few steps, and notes which tiles each phase sees."""

    def __init__(self) -> None:
        self.phases = (Phase("train", 3, 1.0), Phase("collect", TILES // SIZE, 0.0, once=True))
        self.module = nn.Linear(1, 1)
        self.seen: dict[str, list[int]] = {"train": [], "collect": []}

    def begin(self, phase: str) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.module.parameters(), lr=0.1)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        self.seen[phase] += batch.tile.tolist()
        return {"loss": self.module(torch.ones(1, 1)).square().mean()}


def train(
    folder: Path, *, repetition: bool, stop_after: int = 0, resume: bool = False
) -> dict[str, list[int]]:
    sampler = BatchSampler(
        np.full((TILES, 8, 8, 3), 90, np.uint8), np.arange(TILES), ProceduralTextures((8, 8)),
        SynthesisConfig(anomaly_share=0.0), size=SIZE, seed=0, grey=False, repetition=repetition,
    )  # fmt: skip
    trainer, stop = Collector(), threading.Event()
    loop = TrainingLoop(trainer, sampler, TrainingOptions(folder / "c.pt", {}))  # type: ignore[arg-type]
    if resume:
        loop.resume()
    try:
        loop.run(stop, lambda progress: stop.set() if progress.step == stop_after else None)
    except Interrupted:
        assert stop_after
    return trainer.seen


@pytest.mark.parametrize("repetition", [False, True])
def test_every_tile_is_collected_from_once(tmp_path: Path, *, repetition: bool) -> None:
    """Three steps before it end in the midst of a pass over the tiles."""
    seen = train(tmp_path, repetition=repetition)
    assert len(seen["train"]) == 3 * SIZE
    assert sorted(seen["collect"]) == list(range(TILES))


def test_an_interrupted_pass_goes_on_with_the_tiles_that_are_left(tmp_path: Path) -> None:
    first = train(tmp_path, repetition=False, stop_after=5)
    rest = train(tmp_path, repetition=False, resume=True)
    assert len(first["collect"]) == 2 * SIZE and rest["train"] == []
    assert sorted(first["collect"] + rest["collect"]) == list(range(TILES))
