"""What a method's training brings to the loop. One file a method beside this one."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from edge_ad.errors import UsageError
from edge_ad.models.method import Config
from edge_ad.train.batches import Batch
from edge_ad.train.damage import DamageSettings

# method -> module that defines RECIPE
RECIPES = {"destseg": "edge_ad.train.destseg"}


class Settings(BaseModel):
    """Base of a method's training settings; every field can be set with `--set name=value`.

    `lr_tail` is the last part of a phase over which the learning rates fall to 0; papers keep them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch: int = Field(32, ge=2, le=1024)
    lr_tail: float = Field(0.0, ge=0, le=1)
    damage: DamageSettings = DamageSettings()


class Phase(NamedTuple):
    """A stretch of training: `share` is its part of a time budget."""

    name: str
    steps: int
    share: float


class Choice(NamedTuple):
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

    def choose(self, held_back: Batch) -> Choice:
        """Decide what the network shall compute, on held-back good tiles and their damage."""


@dataclass(frozen=True)
class Recipe:
    """A method's settings and the maker of its trainer from (settings, size_hw, teacher file)."""

    name: str
    settings: type[Settings]
    trainer: Callable[[Any, tuple[int, int], Path | None], Trainer]


def recipe_named(name: str) -> Recipe:
    """The recipe of that method; raises UsageError for one this version cannot train."""
    if name not in RECIPES:
        raise UsageError(f"no method '{name}' to train; there is: {', '.join(RECIPES)}.")
    recipe = importlib.import_module(RECIPES[name]).RECIPE
    assert isinstance(recipe, Recipe)
    return recipe


def settings_from(recipe: Recipe, given: dict[str, Any]) -> Settings:
    """Settings from names to values; a dot reaches inside, as in `damage.rotation`.

    Raises UsageError for an unknown name, with the nearest known one, or a value that is none.
    """
    nested: dict[str, Any] = {}
    for name, value in given.items():
        _check_name(recipe, name)
        *outer, last = name.split(".")
        place = nested
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
    try:
        return recipe.settings.model_validate(nested)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"setting {where}: {first['msg']}, got {first['input']!r}.") from error


def _check_name(recipe: Recipe, name: str) -> None:
    known = list(recipe.settings.model_fields)
    known += [f"damage.{field}" for field in DamageSettings.model_fields]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else f" There are: {', '.join(known)}."
        raise UsageError(f"{recipe.name} has no setting '{name}'.{hint}")
