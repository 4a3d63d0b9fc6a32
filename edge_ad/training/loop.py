"""The training loop: phases of steps, and checkpoints so that no work is lost."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from edge_ad.errors import EdgeAdError, OutletLost
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.trainer import Trainer
from edge_ad.training.averaging import WeightAverage
from edge_ad.training.best_weights import BestWeights
from edge_ad.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edge_ad.training.data import BatchSampler, prefetch
from edge_ad.training.device import Arithmetic

_log = logging.getLogger(__name__)

HISTORY_EVERY = 10  # steps between two points of the loss curves


@dataclass(frozen=True)
class TrainingOptions:
    """Options of a run.

    `budget_s` ends each phase after its share of the time instead of its steps. `rate` returns the
    factor on the learning rates after a share of a phase; `lower_rates` are command-line options
    to suggest when training diverges. With `average`, a phase ends with the average of its weights,
    to which each step adds 1 - `average`. `score` is called `checks` times in the second half of
    the last phase that trains; the weights of its highest value are the result.
    """

    checkpoint: Path
    identity: dict[str, str]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    arithmetic: Arithmetic = "fp32"
    workers: int = 1
    budget_s: float | None = None
    checkpoint_every_s: float = 300.0
    rate: Callable[[float], float] = lambda done: 1.0
    lower_rates: str = ""
    average: float = 0.0
    checks: int = 0
    score: Callable[[], float] = lambda: 0.0


@dataclass(frozen=True)
class TrainingProgress:
    """Progress after a step; `done` is the share of the whole training, 0 to 1."""

    phase: str
    step: int
    done: float
    elapsed_s: float
    losses: dict[str, float]

    @property
    def left_s(self) -> float:
        """Estimate the seconds left."""
        return self.elapsed_s * (1 - self.done) / max(self.done, 1e-6)


class Interrupted(Exception):
    """The user asked to stop; the checkpoint is written."""


OnStep = Callable[[TrainingProgress], None]
History = list[dict[str, Any]]


class TrainingLoop:
    """One training run. `run` returns when all phases are done; `history` holds the losses."""

    def __init__(self, trainer: Trainer, sampler: BatchSampler, options: TrainingOptions) -> None:
        self.trainer, self.sampler, self.options = trainer, sampler, options
        self.history: History = []
        self.steps_done: dict[str, int] = {}
        self.step = self.phase = self.phase_step = 0
        self.elapsed_s = self.phase_elapsed_s = 0.0
        self._scaler = torch.amp.GradScaler(
            options.device.type, enabled=options.arithmetic == "fp16"
        )
        self._optimizer: Optimizer | None = None
        self._average: WeightAverage | None = None
        self._best: BestWeights | None = None
        if options.checks:
            self._best = BestWeights(trainer.module, options.score, options.checks)
        trainer.module.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def resume(self) -> None:
        """Continue from the checkpoint; raises as `load_checkpoint` does."""
        saved = load_checkpoint(self.options.checkpoint, self.options.identity)
        self.trainer.module.load_state_dict(saved.module)
        for name in ("step", "phase", "phase_step", "elapsed_s", "phase_elapsed_s"):
            setattr(self, name, getattr(saved, name))
        self.history, self.steps_done = saved.history, saved.steps_done
        if self.phase < len(self.trainer.phases):
            self._begin()
            assert self._optimizer is not None
            self._optimizer.load_state_dict(saved.optimizer)
            if self._average is not None:
                self._average.load(saved.average)
            if self._best is not None and saved.best:
                self._best.state = saved.best
        self._scaler.load_state_dict(saved.scaler)
        torch.set_rng_state(saved.rng)

    def run(self, stop: threading.Event, on_step: OnStep) -> None:
        """Train to the end. Raises Interrupted when `stop` is set, after writing a checkpoint."""
        saved_at = time.monotonic()
        with contextlib.closing(self._steps()) as steps:
            for batches in steps:
                on_step(self._timed_step(batches))
                if stop.is_set():
                    self.save()
                    raise Interrupted
                if time.monotonic() - saved_at > self.options.checkpoint_every_s:
                    self._save_if_possible()
                    saved_at = time.monotonic()
        self._save_if_possible()

    def _save_if_possible(self) -> None:
        """Write the checkpoint; log a full disk, which must not end hours of training."""
        try:
            self.save()
        except OutletLost as error:
            _log.warning("training goes on without a new checkpoint: %s", error)

    def save(self) -> None:
        """Write the checkpoint, unless weights are NaN or infinite: then the old one stays."""
        module, optimizer = self.trainer.module, self._optimizer
        if optimizer is None or not all(bool(p.isfinite().all()) for p in module.parameters()):
            return
        save_checkpoint(
            self.options.checkpoint,
            Checkpoint(
                identity=self.options.identity,
                step=self.step,
                phase=self.phase,
                phase_step=self.phase_step,
                elapsed_s=self.elapsed_s,
                phase_elapsed_s=self.phase_elapsed_s,
                module=module.state_dict(),
                optimizer=optimizer.state_dict(),
                scaler=self._scaler.state_dict(),
                rng=torch.get_rng_state(),
                history=self.history,
                steps_done=self.steps_done,
                average=self._average.values if self._average is not None else {},
                best=self._best.state if self._best is not None else {},
            ),
        )

    @property
    def checks(self) -> list[float]:
        """Return the scores of the checks in the last phase that trains."""
        return [] if self._best is None else list(self._best.state["checks"])

    def _steps(self) -> Generator[Iterator[Batch], None, None]:
        """Yield where the batch comes from, once per step, until the last phase is over."""
        while self.phase < len(self.trainer.phases):
            if self._optimizer is None:
                self._begin()
            with contextlib.closing(self._batches()) as batches:
                while self._phase_done() < 1:
                    yield batches
            self._end_phase()
            self.phase += 1
            self.phase_step, self.phase_elapsed_s = 0, 0.0
            if self.phase < len(self.trainer.phases):
                self._optimizer = None

    def _batches(self) -> Generator[Batch, None, None]:
        """Return the batches of the present phase, from its next step on."""
        if self.trainer.phases[self.phase].once:  # every tile once, from the first one on
            sampler = replace(self.sampler, repetition=False)
            return prefetch(sampler, self.phase_step, self.options.workers)
        return prefetch(self.sampler, self.step, self.options.workers)

    def _end_phase(self) -> None:
        """Take the average of the weights, or the best of those checked."""
        if self._average is not None:
            self._average.apply()
        if self._best is not None and self._is_checked():
            self._best.apply()

    def _begin(self) -> None:
        self._optimizer = self.trainer.begin(self.trainer.phases[self.phase].name)
        for group in self._optimizer.param_groups:
            group.setdefault("full_lr", group["lr"])  # a method may go on with the same optimiser
        # what a pass over the tiles has collected is no weights: an average would spoil it
        averaged = self.options.average and not self.trainer.phases[self.phase].once
        module, decay = self.trainer.module, self.options.average
        self._average = WeightAverage(module, decay) if averaged else None

    def _is_checked(self) -> bool:
        """Return whether this is the last phase that trains."""
        once = [phase.once for phase in self.trainer.phases[self.phase :]]
        return not once[0] and all(once[1:])

    def _timed_step(self, batches: Iterator[Batch]) -> TrainingProgress:
        started = time.monotonic()
        losses = self._one_step(next(batches))
        if self._average is not None:
            self._average.update(self.phase_step)
        took = time.monotonic() - started
        self.step, self.phase_step = self.step + 1, self.phase_step + 1
        self.elapsed_s, self.phase_elapsed_s = self.elapsed_s + took, self.phase_elapsed_s + took
        if self._best is not None and self._is_checked():
            self._best.after_step(self._phase_done(), self._average)
        name = self.trainer.phases[self.phase].name
        self.steps_done[name] = self.phase_step
        if self.step % HISTORY_EVERY == 0:
            self.history.append({"step": self.step, "phase": name, **losses})
        return TrainingProgress(name, self.step, self._done(), self.elapsed_s, losses)

    def _one_step(self, batch: Any) -> dict[str, float]:
        phase, optimizer = self.trainer.phases[self.phase].name, self._optimizer
        assert optimizer is not None
        self._set_rate(optimizer)
        optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            losses = self.trainer.losses(phase, batch.on(self.options.device))
        total: Tensor = torch.stack(list(losses.values())).sum()
        values = {name: float(value.detach()) for name, value in losses.items()}
        self._check_finite(values, phase)
        if total.requires_grad:
            torch.autograd.backward(self._scaler.scale(total))
            self._scaler.step(optimizer)
            self._scaler.update()
        return values

    def _check_finite(self, losses: dict[str, float], phase: str) -> None:
        if all(math.isfinite(value) for value in losses.values()):
            return
        checkpoint = self.options.checkpoint
        raise EdgeAdError(
            f"the loss became {losses} at step {self.step + 1}, phase {phase}: training diverged. "
            + (f"The last finite state is in {checkpoint}. " if checkpoint.exists() else "")
            + f"Start again with lower learning rates, like {self.options.lower_rates}."
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = dtypes.get(self.options.arithmetic)
        return torch.autocast(self.options.device.type, dtype, enabled=dtype is not None)

    def _set_rate(self, optimizer: Optimizer) -> None:
        """Set the learning rates by the method's schedule, by steps or by time."""
        factor = self.options.rate(self._phase_done())
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor

    def _phase_done(self) -> float:
        phase = self.trainer.phases[self.phase]
        if self.options.budget_s is None or phase.once:
            return self.phase_step / max(1, phase.steps)
        return self.phase_elapsed_s / (self.options.budget_s * phase.share)

    def _done(self) -> float:
        phases = self.trainer.phases
        weights = [p.steps if self.options.budget_s is None else p.share for p in phases]
        before = sum(weights[: self.phase]) + weights[self.phase] * min(1.0, self._phase_done())
        return before / sum(weights)
