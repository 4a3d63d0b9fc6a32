"""What a method's training brings to the loop. One file a method beside this one."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from edge_ad.errors import UsageError
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.method import NAMES, Config
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.textures import Textures

C = TypeVar("C", bound=Config)

# method -> module that defines RECIPE
TRAININGS = {name: f"edge_ad.methods.{name}.training" for name in NAMES}
RATE = r"lr|lr_(student|res|head)"  # settings that are learning rates
Tiles = Annotated[int, Field(ge=2, le=1024)]  # in a step; batch norm needs two


class TrainingSettings(BaseModel):
    """Base of a method's training settings; every field can be set with `--set name=value`.

    `lr_tail` is the last part of a phase over which the learning rates fall to 0; papers keep them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch: Tiles = 32
    lr_tail: Annotated[float, Field(ge=0, le=1)] = 0.0
    synthesis: SynthesisConfig = SynthesisConfig()

    def rate(self, done: float) -> float:
        """Factor on the learning rates when the share `done` of a phase is behind; 0 to 1."""
        return min(1.0, (1 - done) / self.lr_tail) if self.lr_tail else 1.0

    @property
    def slower(self) -> str:
        """Words for a training that diverged: the learning rates, a third of what they were."""
        rates = [name for name in type(self).model_fields if re.fullmatch(RATE, name)]
        return " ".join(f"--set {name}={getattr(self, name) / 3:.2g}" for name in rates)

    def changed(self, textures: Textures) -> Textures:
        """The textures as this method damages parts with them; most take them as they are."""
        return textures


def shaped(kind: type[C], fields: dict[str, Any]) -> C:
    """A network's configuration from settings; raises UsageError for a value it cannot have."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise _refused(error) from error


def decayed(done: float, factor: float, at: tuple[float, ...]) -> float:
    """A learning rate that falls to `factor` of itself at each share in `at`."""
    return factor ** sum(done >= share for share in at)


class Phase(NamedTuple):
    """A stretch of training: `share` is its part of a time budget."""

    name: str
    steps: int
    share: float


class BranchChoice(NamedTuple):
    """What the end of training decides: the network's final configuration, and why."""

    config: Config
    report: dict[str, Any]


class Trainer(Protocol):
    """One method being trained. The loop calls `begin` once a phase, then `losses` every step."""

    @property
    def module(self) -> nn.Module: ...

    @property
    def phases(self) -> Sequence[Phase]: ...

    def begin(self, phase: str) -> Optimizer:
        """Freeze and unfreeze; the optimiser of this phase."""

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """The parts of the loss; their sum is minimised."""

    def choose(self, held_back: Batch) -> BranchChoice:
        """Decide what the network shall compute, on held-back good tiles and their damage."""


@dataclass(frozen=True)
class MethodTraining:
    """A method's settings and the maker of its trainer from (settings, size_hw, teacher file).

    `presets` are named groups of settings, like `edge` for small devices.
    """

    name: str
    settings: type[TrainingSettings]
    trainer: Callable[[Any, tuple[int, int], Path | None], Trainer]
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)


def training_named(name: str) -> MethodTraining:
    """The recipe of that method; raises UsageError for one this version cannot train."""
    if name not in TRAININGS:
        raise UsageError(f"no method '{name}' to train; there is: {', '.join(TRAININGS)}.")
    recipe = importlib.import_module(TRAININGS[name]).TRAINING
    assert isinstance(recipe, MethodTraining)
    return recipe


def settings_from(
    recipe: MethodTraining, given: dict[str, Any], preset: str | None = None
) -> TrainingSettings:
    """Settings from names to values, over those of a preset; a dot reaches inside, as in
    `synthesis.rotation`.

    Raises UsageError for an unknown name, with the nearest known one, or a value that is none.
    """
    nested: dict[str, Any] = {}
    for name, value in {**_preset(recipe, preset), **given}.items():
        _check_name(recipe, name)
        *outer, last = name.split(".")
        place = nested
        for part in outer:
            place = place.setdefault(part, _default(recipe, part))
        place[last] = value
    try:
        return recipe.settings.model_validate(nested)
    except ValidationError as error:
        raise _refused(error) from error


def _refused(error: ValidationError) -> UsageError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
    return UsageError(f"setting {where}: {first['msg']}, got {first['input']!r}.")


def _default(recipe: MethodTraining, name: str) -> dict[str, Any]:
    """A group of settings as this method has it: naming one member must not reset the others."""
    group = recipe.settings.model_fields[name].get_default(call_default_factory=True)
    values: dict[str, Any] = group.model_dump()
    return values


def _preset(recipe: MethodTraining, preset: str | None) -> dict[str, Any]:
    if preset is None:
        return {}
    if preset not in recipe.presets:
        there = f"; it has: {', '.join(recipe.presets)}" if recipe.presets else ""
        raise UsageError(f"{recipe.name} has no preset '{preset}'{there}.")
    return recipe.presets[preset]


def _check_name(recipe: MethodTraining, name: str) -> None:
    known = list(recipe.settings.model_fields)
    known += [f"synthesis.{field}" for field in SynthesisConfig.model_fields]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else f" There are: {', '.join(known)}."
        raise UsageError(f"{recipe.name} has no setting '{name}'.{hint}")
