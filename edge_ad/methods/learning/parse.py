"""Make a method's settings from names and values, as `train --set` and presets have them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from edge_ad.errors import UsageError
from edge_ad.methods.layers.backbone import backbone_of
from edge_ad.methods.learning.settings import TrainingSettings
from edge_ad.methods.learning.trainer import MethodTraining

BACKBONE = "network.backbone"


def parse_settings(
    training: MethodTraining,
    given: dict[str, Any],
    preset: str | None = None,
    teacher: Path | None = None,
) -> TrainingSettings:
    """Make settings from names and values, which win over those of a preset.

    A dot reaches into a group, as in `synthesis.rotation`; the rest of the group keeps the
    method's defaults. Where neither a name nor the preset says which backbone the method uses, it
    is the one whose weights `teacher` holds. Raises UsageError for an unknown name, with the
    nearest known one, or a value that does not fit.
    """
    nested: dict[str, Any] = {}
    named = {**_preset(training, preset), **_numbers(given)}
    for name, value in {**_backbone(training, teacher, named), **named}.items():
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


def _backbone(
    training: MethodTraining, teacher: Path | None, named: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the setting of the backbone in a file, where it is not named and the method has it."""
    if teacher is None or BACKBONE in named or BACKBONE not in setting_names(training):
        return {}
    found = backbone_of(teacher)
    choices = type(_group(training, "network")).model_fields["backbone"].annotation
    return {BACKBONE: found} if found in get_args(choices) else {}


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
