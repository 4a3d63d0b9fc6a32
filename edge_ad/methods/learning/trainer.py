"""The interface between a method's training and the training loop."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.settings import TrainingSettings
from edge_ad.methods.method import Config
from edge_ad.methods.registry import method_entry


class Phase(NamedTuple):
    """A stretch of training: `share` is its part of a time budget.

    A phase that looks at every tile `once` ends after its steps, within a time budget too.
    """

    name: str
    steps: int
    share: float
    once: bool = False


class BranchChoice(NamedTuple):
    """The network's final configuration, chosen after training, and figures for the report."""

    config: Config
    report: dict[str, Any]


class Trainer(Protocol):
    """One method being trained. The loop calls `begin` once a phase, then `losses` every step."""

    @property
    def module(self) -> nn.Module: ...

    @property
    def phases(self) -> Sequence[Phase]: ...

    def begin(self, phase: str) -> Optimizer:
        """Freeze and unfreeze parameters; return the optimiser of this phase."""

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss; their sum is minimised if it has a gradient."""

    def choose(self, held_back: Batch) -> BranchChoice:
        """Choose the final configuration, on held-back normal tiles and anomalous copies."""


@runtime_checkable
class ScheduledByTiles(Protocol):
    """A trainer whose steps depend on the number of tiles, like one pass or many epochs."""

    def expect(self, tiles: int) -> None:
        """Plan for this many tiles; called before the training starts."""


@dataclass(frozen=True)
class MethodTraining:
    """A method's settings and the constructor of its trainer from (settings, size_hw, teacher).

    `presets` are named groups of settings, like `edge` for small devices.
    """

    name: str
    settings: type[TrainingSettings]
    trainer: Callable[[Any, SizeHW, Path | None], Trainer]
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)


def load_training(name: str) -> MethodTraining:
    """Import a method's training; raises UsageError for a method this version does not have."""
    training = importlib.import_module(method_entry(name).training).TRAINING
    assert isinstance(training, MethodTraining)
    return training
