"""The loop itself: kills, full disks, learning rates, arithmetic."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
import torch

from edge_ad.errors import OutletLost
from edge_ad.methods.destseg.training import DeSTSegTrainer
from edge_ad.methods.weights import load_detector
from edge_ad.training import checkpoint
from edge_ad.training.loop import TrainingProgress
from edge_ad.training.session import train
from tests.training.conftest import Trained
from tests.training.runs import run
from tests.training.train_configs import tiny_training


class Killed(BaseException):
    """Ends a training the way a kill does: nothing is put in order."""


@pytest.mark.parametrize("last", [2, 3])  # in the midst of the first phase, and at its end
def test_a_killed_training_resumes_to_the_same_weights(
    folder: Path, trained: Trained, last: int
) -> None:
    def kill(progress: TrainingProgress) -> None:
        if progress.step == last:
            raise Killed

    with pytest.raises(Killed):
        train(tiny_training(folder, checkpoint_every_s=0.0), threading.Event(), kill)
    run(tiny_training(folder, resume=True))
    paths = (trained.weights, folder / "destseg.pt")
    one, other = (load_detector(path).module.state_dict() for path in paths)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_full_disk_costs_the_checkpoint_not_the_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: object) -> None:
        raise OutletLost(f"{path}: cannot be written (no space left). Is the disk full?")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with caplog.at_level(logging.WARNING):
        run(tiny_training(folder, checkpoint_every_s=0.0))
    assert "goes on without a new checkpoint" in caplog.text
    assert (folder / "destseg.pt").exists()


def test_weights_that_cannot_be_written_are_a_lost_outlet(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(OutletLost, match="cannot be written"):
        run(tiny_training(folder, "file/destseg.pt"))


@pytest.mark.slow
def test_bf16_on_the_cpu_trains(folder: Path) -> None:
    result = run(tiny_training(folder, arithmetic="bf16"))
    assert result["arithmetic"] == "bf16"
    state = load_detector(folder / "destseg.pt").module.state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("tail", "rates"), [(0.0, [1, 1, 1, 1]), (0.5, [1, 1, 1, 0.5]), (1.0, [1, 0.75, 0.5, 0.25])]
)
def test_learning_rates_fall_over_the_tail_of_each_phase(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tail: float, rates: list[float], *, shared: bool
) -> None:
    """They begin in full again, also where a method goes on with the same optimiser."""
    begin = DeSTSegTrainer.begin
    used: list[float] = []
    optimizers: list[torch.optim.Optimizer] = []

    def begin_watched(trainer: DeSTSegTrainer, phase: str) -> torch.optim.Optimizer:
        optimizers.append(begin(trainer, phase))
        optimizers[-1].register_step_pre_hook(
            lambda watched, *_: used.append(watched.param_groups[0]["lr"])
        )
        return optimizers[0 if shared else -1]

    def end_here(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(DeSTSegTrainer, "begin", begin_watched)
    monkeypatch.setattr(DeSTSegTrainer, "choose", end_here)
    with pytest.raises(Killed):
        run(tiny_training(folder, settings={"steps": 8, "lr_tail": tail}))
    full = (0.4, 0.4) if shared else (0.4, 0.1)
    assert used == pytest.approx([lr * rate for lr in full for rate in rates])
