"""The loop itself: kills, full disks, learning rates, arithmetic."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
import torch

from edge_ad.errors import OutletLost
from edge_ad.methods.weights import load_detector
from edge_ad.training import checkpoint, loop
from edge_ad.training.loop import TrainingOptions, TrainingProgress
from edge_ad.training.session import train
from tests.training.train_configs import job, run, write_parts, write_teacher


class Killed(BaseException):
    """Ends a training the way a kill does: nothing is put in order."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_teacher(tmp_path / "teacher.pth")
    write_parts(tmp_path / "parts")
    return tmp_path


def save_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.training.session.FitOptions", lambda **options: TrainingOptions(
        **{**options, "checkpoint_every_s": 0.0}
    ))  # fmt: skip


def test_a_killed_training_resumes_to_the_same_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(job(folder, "whole.pt"))
    save_every_step(monkeypatch)

    def kill(news: TrainingProgress) -> None:
        if news.step == 3:
            raise Killed

    with pytest.raises(Killed):
        train(job(folder), threading.Event(), kill)
    run(job(folder, resume=True))
    one, other = (load_detector(folder / n).module.state_dict() for n in ("whole.pt", "destseg.pt"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_full_disk_costs_the_checkpoint_not_the_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: object) -> None:
        raise OutletLost(f"{path}: cannot be written (no space left). Is the disk full?")

    save_every_step(monkeypatch)
    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with caplog.at_level(logging.WARNING):
        run(job(folder))
    assert "goes on without a new checkpoint" in caplog.text
    assert (folder / "destseg.pt").exists()


def test_weights_that_cannot_be_written_are_a_lost_sink(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(OutletLost, match="cannot be written"):
        run(job(folder, "file/destseg.pt"))


def test_half_precision_on_the_cpu_trains(folder: Path) -> None:
    result = run(job(folder, arithmetic="bf16"))
    assert result["arithmetic"] == "bf16"
    state = load_detector(folder / "destseg.pt").module.state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize(
    ("tail", "rates"), [(0.0, [1, 1, 1, 1]), (0.5, [1, 1, 1, 0.5]), (1.0, [1, 0.75, 0.5, 0.25])]
)
def test_learning_rates_fall_over_the_tail_of_a_phase(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tail: float, rates: list[float]
) -> None:
    seen: list[float] = []

    class Watched(loop.TrainingLoop):
        def _set_rate(self, optimizer: torch.optim.Optimizer) -> None:
            super()._set_rate(optimizer)
            seen.append(optimizer.param_groups[0]["lr"])

    monkeypatch.setattr("edge_ad.training.session.Fit", Watched)
    run(job(folder, settings={"steps": 8, "lr_tail": tail}))
    assert seen == pytest.approx([0.4 * rate for rate in rates] + [0.1 * rate for rate in rates])
