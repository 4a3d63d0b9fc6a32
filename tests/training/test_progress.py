"""Progress, time budgets and checkpoints of a training, by a clock that ticks once a look."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.trainer import Phase
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.textures import ProceduralTextures
from edge_ad.training import loop
from edge_ad.training.data import BatchSampler
from edge_ad.training.loop import TrainingLoop, TrainingOptions, TrainingProgress

SIDE = 16


class OneWeight:
    """Trains one weight in the given phases."""

    def __init__(self, *phases: Phase) -> None:
        self.phases = phases
        self.module = nn.Linear(1, 1, bias=False)

    def begin(self, phase: str) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.module.parameters(), lr=0.1)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.module(torch.ones(1, 1)).square().mean()}


def trained(
    path: Path, *phases: Phase, **options: float
) -> tuple[TrainingLoop, list[TrainingProgress]]:
    tiles = np.full((2, SIDE, SIDE, 3), 90, np.uint8)
    sampler = BatchSampler(
        tiles, np.arange(2), ProceduralTextures((SIDE, SIDE)), SynthesisConfig(anomaly_share=0.0),
        size=1, seed=0, grey=False,
    )  # fmt: skip
    config = TrainingOptions(path / "c", {}, workers=1, **options)  # type: ignore[arg-type]
    one = TrainingLoop(OneWeight(*phases), sampler, config)  # type: ignore[arg-type]
    steps: list[TrainingProgress] = []
    one.run(threading.Event(), steps.append)
    return one, steps


@pytest.fixture(autouse=True)
def saved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each look at the clock take a second; return the steps that were saved."""
    clock = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    steps: list[int] = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda path, content: steps.append(content.step))
    return steps


@pytest.mark.parametrize("budget_s", [None, 8.0], ids=["by steps", "by time"])
def test_progress_and_time_left_count_all_phases(tmp_path: Path, budget_s: float | None) -> None:
    options = {} if budget_s is None else {"budget_s": budget_s}
    steps_of = (2, 6) if budget_s is None else (50, 30)  # a budget ends phases by their shares
    phases = Phase("first", steps_of[0], 0.25), Phase("second", steps_of[1], 0.75)
    one, steps = trained(tmp_path, *phases, **options)
    assert one.steps_done == {"first": 2, "second": 6}
    assert [step.done for step in steps] == pytest.approx([count / 8 for count in range(1, 9)])
    assert [step.elapsed_s for step in steps] == list(range(1, 9))
    assert [step.left_s for step in steps] == pytest.approx(list(range(7, -1, -1)))


def test_every_tenth_step_is_a_point_of_the_loss_curves(tmp_path: Path) -> None:
    loop, steps = trained(tmp_path, Phase("one", 14, 1.0), Phase("two", 9, 1.0))
    assert [(point["step"], point["phase"]) for point in loop.history] == [(10, "one"), (20, "two")]
    assert [point["loss"] for point in loop.history] == [steps[n].losses["loss"] for n in (9, 19)]


def test_a_step_beyond_the_budget_is_no_more_than_all(tmp_path: Path) -> None:
    _, steps = trained(tmp_path, Phase("train", 100, 1.0), budget_s=2.5)
    assert [step.done for step in steps] == pytest.approx([0.4, 0.8, 1.0])
    assert steps[-1].left_s == 0


def test_a_phase_that_passes_over_the_tiles_once_has_its_steps_in_any_budget(
    tmp_path: Path,
) -> None:
    phases = Phase("train", 100, 0.5), Phase("collect", 7, 0.5, once=True)
    one, steps = trained(tmp_path, *phases, budget_s=6.0)
    assert one.steps_done == {"train": 3, "collect": 7}
    assert max(step.done for step in steps) == 1.0


def test_a_checkpoint_is_written_at_intervals_and_at_the_end(
    tmp_path: Path, saved: list[int]
) -> None:
    trained(tmp_path, Phase("train", 9, 1.0), checkpoint_every_s=7.0)
    assert saved == [3, 6, 9, 9]  # a step looks at the clock three times
    saved.clear()
    trained(tmp_path, Phase("train", 9, 1.0), checkpoint_every_s=1000.0)
    assert saved == [9]
