"""Settings that a person changes while a line runs: threshold, rule, pause."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Setting(str, Enum):
    """What is changed, of one camera. Values are a number, `k`, `n`, `hysteresis`, or a bool."""

    THRESHOLD = "threshold"
    RULE = "rule"
    PAUSED = "paused"


class SettingStep(str, Enum):
    """How a setting got its new value."""

    SET = "set"  # by a person
    UNDO = "undo"  # by a person, back to the value before
    KEPT = "kept"  # by a person, before the line was started again
    REPLACED = "replaced"  # by the configuration, which was changed after a person's value


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One change of one setting of one camera: values, and by whom, when and why."""

    camera: str
    setting: Setting
    step: SettingStep
    old: Any
    new: Any
    who: str
    reason: str = ""
    time_utc: str = ""


def value_text(value: Any) -> str:
    """Return a setting's value for people."""
    if isinstance(value, dict):
        return f"{value['k']} of {value['n']}, hysteresis {value['hysteresis']:g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}"


def change_text(change: SettingChange) -> str:
    """Return a change as part of a line for people."""
    reason = f": {change.reason}" if change.reason else ""
    step = "" if change.step is SettingStep.SET else f" ({change.step.value})"
    values = values_text(change.setting.value, change.old, change.new)
    return f"{values}{step} by {change.who}{reason}"


def values_text(setting: str, old: Any, new: Any) -> str:
    """Return a setting's old and new values for people."""
    if setting == Setting.PAUSED:
        return "paused" if new else "resumed"
    return f"{setting} {value_text(old)} -> {value_text(new)}"


def as_json(value: Any) -> str:
    """Return a value as JSON."""
    return json.dumps(value, allow_nan=False)
