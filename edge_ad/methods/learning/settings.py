"""Training settings: their base class, named groups of them, and parsing from names and values."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge_ad.errors import UsageError
from edge_ad.methods.method import Config
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.textures import Textures

if TYPE_CHECKING:
    from edge_ad.methods.learning.trainer import MethodTraining


@dataclass(frozen=True)
class IsLearningRate:
    """Marks a setting as a learning rate, which a diverged training should lower."""


LearningRate = Annotated[float, Field(gt=0), IsLearningRate()]
LossWeight = Annotated[float, Field(ge=0)]
Tiles = Annotated[int, Field(ge=2, le=1024)]  # per step; batch norm needs two
Steps = Annotated[int, Field(ge=2)]


class SetAside(BaseModel):
    """Shares of the parts that are not trained on: to choose by, and for the threshold.

    0 and 0 train on all parts, as papers do; then no threshold can be set from them. Which parts
    these are depends on their names and on `draw`, and not on the training's seed, so that seeds
    are compared on the same parts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    selection: Annotated[float, Field(ge=0, lt=1)] = 0.1
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.2
    draw: Annotated[int, Field(ge=0)] = 0

    @property
    def shares_given(self) -> bool:
        """Return whether shares were given, which few parts do not change."""
        return bool({"selection", "threshold"} & self.model_fields_set)

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of each use that has one."""
        shares = {"selection": self.selection, "threshold": self.threshold}
        return {use: share for use, share in shares.items() if share}

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.selection + self.threshold >= 1:
            raise ValueError("the shares leave no part to train on; their sum must be below 1")
        return self


class TrainingSettings(BaseModel):
    """Base of a method's training settings; `--set name=value` reaches every field.

    `network` is the configuration of the network to train, `synthesis` that of the synthetic
    anomalies; a dot reaches inside them, like `network.width`. `lr_tail` is the last part of a
    phase over which the learning rates fall to 0; papers keep them constant. `average` is the share
    of the earlier weights in the running average that ends each phase; 0 takes the last weights, as
    papers do. `checks` is how often the weights are measured on the parts set aside in the second
    half of the last phase, to keep the best; 0 keeps the last. `set_aside` are the shares of parts
    that are not trained on. With `repetition` each tile is drawn from all, as DRAEM's code does, in
    place of passes over all tiles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    unused: ClassVar[tuple[str, ...]] = ()  # fields without effect, which a user cannot set

    batch: Tiles = 32
    lr_tail: Annotated[float, Field(ge=0, le=1)] = 0.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    checks: Annotated[int, Field(ge=0, le=100)] = 0
    set_aside: SetAside = SetAside()
    repetition: bool = False
    network: Config = Config()
    synthesis: SynthesisConfig = SynthesisConfig()

    def rate(self, done: float) -> float:
        """Return the factor on the learning rates, 0 to 1, after the share `done` of a phase."""
        return min(1.0, (1 - done) / self.lr_tail) if self.lr_tail else 1.0

    @property
    def lower_rates(self) -> str:
        """Return options that set every learning rate to a third of its value."""
        marked = [
            name
            for name, field in type(self).model_fields.items()
            if any(isinstance(mark, IsLearningRate) for mark in field.metadata)
        ]
        return " ".join(f"--set {name}={getattr(self, name) / 3:.2g}" for name in marked)

    def prepare_textures(self, textures: Textures) -> Textures:
        """Return the textures as this method blends them in; most methods use them unchanged."""
        return textures


class OnePassSettings(TrainingSettings):
    """Base for methods that collect features of the normal tiles, in one pass by default.

    `steps` of `batch` tiles end it earlier, or repeat it for rotated tiles. No weights are learned,
    so the settings that say how do not apply.
    """

    unused: ClassVar[tuple[str, ...]] = ("lr_tail", "average", "checks")

    batch: Tiles = 8
    steps: Steps | None = None
    synthesis: SynthesisConfig = SynthesisConfig(anomaly_share=0.0)


def decayed(done: float, factor: float, at: tuple[float, ...]) -> float:
    """Return a rate that is multiplied by `factor` at each share of the steps in `at`."""
    return factor ** sum(done >= share for share in at)


def parse_settings(
    training: MethodTraining, given: dict[str, Any], preset: str | None = None
) -> TrainingSettings:
    """Make settings from names and values, which win over those of a preset.

    A dot reaches into a group, as in `synthesis.rotation`; the rest of the group keeps the
    method's defaults. Raises UsageError for an unknown name, with the nearest known one, or a
    value that does not fit.
    """
    nested: dict[str, Any] = {}
    for name, value in {**_preset(training, preset), **_numbers(given)}.items():
        _check_name(training, name)
        group, dot, member = name.partition(".")
        if dot:
            # without what the method leaves open: `shares_given` asks what was given
            defaults = _group(training, group).model_dump(exclude_unset=True)
            nested.setdefault(group, defaults)[member] = value
        else:
            nested[name] = value
    try:
        return training.settings.model_validate(nested, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        message = f"setting {where}: {first['msg']}, got {first['input']!r}."
        raise UsageError(message) from error


def _numbers(value: Any) -> Any:
    """Return whole numbers given as text as numbers: a choice of numbers takes no text."""
    if isinstance(value, dict):
        return {name: _numbers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_numbers(member) for member in value]
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _group(training: MethodTraining, name: str) -> BaseModel:
    """Return a group of settings with this method's defaults."""
    group: BaseModel = training.settings.model_fields[name].get_default(call_default_factory=True)
    return group


def _preset(training: MethodTraining, preset: str | None) -> dict[str, Any]:
    if preset is None:
        return {}
    if preset not in training.presets:
        known = f"; it has: {', '.join(training.presets)}" if training.presets else ""
        raise UsageError(f"{training.name} has no preset '{preset}'{known}.")
    return training.presets[preset]


def setting_names(training: MethodTraining) -> list[str]:
    """Return the names of all settings of a method, with a dot where one is inside a group."""
    names: list[str] = []
    for name in training.settings.model_fields:
        if name in training.settings.unused:
            continue
        group = _group(training, name)
        inside = type(group).model_fields if isinstance(group, BaseModel) else ()
        names += [f"{name}.{member}" for member in inside] or [name]
    return names


def _check_name(training: MethodTraining, name: str) -> None:
    known = setting_names(training)
    if name in known:
        return
    if name in training.settings.unused:
        raise UsageError(f"{training.name} learns no weights, so {name} has no effect: drop it.")
    nearest = _nearest(name, known)
    hint = f" Did you mean '{nearest}'?" if nearest else f" There are: {', '.join(known)}."
    raise UsageError(f"{training.name} has no setting '{name}'.{hint}")


def _nearest(name: str, known: list[str]) -> str | None:
    """Return the name that resembles `name` most, with or without its group."""
    members = {full.rpartition(".")[2]: full for full in reversed(known)}
    if whole := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        return whole[0]
    last = difflib.get_close_matches(name.rpartition(".")[2], members, n=1)
    return members[last[0]] if last else None
