"""Change threshold, rule and pause of cameras while the line runs, and keep them over restarts.

A person's value holds until the configuration changes: the later of two decisions wins.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from edge_ad.clock import now_utc
from edge_ad.errors import UsageError
from edge_ad.line.alarm import AlarmRule, PartRule, check_rule
from edge_ad.line.camera import Camera
from edge_ad.line.supervisor import Supervisor
from edge_ad.setting import Setting, SettingChange, SettingStep, value_text
from edge_ad.store.settings import KeptSetting, KeptSettings, keep

_log = logging.getLogger(__name__)
_CONFIGURATION = "the configuration"
_UNDONE = 100  # changes: all values are written at each, and a program may make many
_KEPT_WITHIN_S = 2.0  # a full disk: the change holds, and is written later


@dataclass(frozen=True)
class Applied:
    """A change that holds now; `kept` says that it is on the disk and survives a restart."""

    change: SettingChange
    kept: bool


@dataclass
class _Values:
    """One camera's values before the present ones, oldest first, and what is configured."""

    camera: Camera
    configured: dict[Setting, Any]
    before: dict[Setting, list[Any]] = field(
        default_factory=lambda: {setting: [] for setting in Setting}
    )

    def remember(self, setting: Setting, old: Any) -> None:
        """Add a value; beyond a hundred the oldest goes but the first, which is configured."""
        before = self.before[setting]
        before.append(old)
        del before[1:-_UNDONE]


class LineSettings:
    """The settings of a line's cameras; any thread may change them.

    They hold from the next frame. Changes go to the outlets, and to the line's store if it has one.
    Methods raise UsageError for an invalid camera or value.
    """

    def __init__(self, line: Supervisor) -> None:
        self._line = line
        self._values = {camera.name: _Values(camera, _read_all(camera)) for camera in line.cameras}
        self._restored: list[SettingChange] = []
        self._lock = threading.Lock()

    def set_threshold(self, camera: str, value: float, *, who: str, reason: str = "") -> Applied:
        """Reject above `value`. The guarantee of the threshold before is no longer checked."""
        if not math.isfinite(value):
            raise UsageError(f"a threshold is a finite number; got {value}.")
        return self._set(camera, Setting.THRESHOLD, lambda _: float(value), who, reason)

    def set_rule(
        self, camera: str, given: Mapping[str, Any], *, who: str, reason: str = ""
    ) -> Applied:
        """Change `k`, `n` or `hysteresis` of the alarm rule; what is not given stays."""
        if self._of(camera).camera.alarm.part_rule is PartRule.FRAME:
            raise UsageError(f"camera {camera} judges every frame as a part: it has no alarm rule.")
        return self._set(camera, Setting.RULE, lambda rule: {**rule, **given}, who, reason)

    def pause(self, camera: str, *, on: bool, who: str, reason: str = "") -> Applied:
        """Judge no frame of a camera until it is resumed; its alarms end."""
        return self._set(camera, Setting.PAUSED, lambda _: on, who, reason)

    def undo(self, camera: str, setting: Setting, *, who: str, reason: str = "") -> Applied:
        """Return to the value before the last change by a person."""
        with self._lock:
            before = self._of(camera).before[setting]
            if not before:
                raise UsageError(
                    f"the {setting.value} of camera {camera} is as configured: there is nothing "
                    "to undo."
                )
            return self._change(camera, setting, before.pop(), SettingStep.UNDO, who, reason)

    def restore(self, kept: KeptSettings) -> None:
        """Take over what people have set before, unless the configuration has changed since.

        Call it before the start. Both outcomes are logged.
        """
        for (name, setting), value in kept.items():
            if name not in self._values:
                continue
            if value.configured == self._values[name].configured[setting]:
                self._take_over(name, setting, value)
            else:
                self._replace(name, setting, value)

    def report_restored(self) -> None:
        """Send what was restored to the outlets, after the start."""
        for change in self._restored:
            self._line.outlets.setting_changed(change)
        self._restored = []

    def set_by_hand(self, camera: str) -> list[Setting]:
        """Return which settings differ from the configuration."""
        return [setting for setting, before in self._of(camera).before.items() if before]

    def _set(
        self, camera: str, setting: Setting, new: Callable[[Any], Any], who: str, reason: str
    ) -> Applied:
        with self._lock:
            values = self._of(camera)
            old = _read(values.camera, setting)
            value = new(old)
            if value == old:
                change = SettingChange(
                    camera, setting, SettingStep.SET, old, old, who, reason, now_utc()
                )
                return Applied(change, kept=True)
            if setting is Setting.RULE:
                check_rule(AlarmRule(**value))
            values.remember(setting, old)
            return self._change(camera, setting, value, SettingStep.SET, who, reason)

    def _change(
        self, camera: str, setting: Setting, new: Any, step: SettingStep, who: str, reason: str
    ) -> Applied:
        values = self._of(camera)
        old = _read(values.camera, setting)
        _apply(values.camera, setting, new)
        if setting is Setting.PAUSED and not new:
            values.before[setting].clear()
        change = SettingChange(camera, setting, step, old, new, who, reason, now_utc())
        kept = self._kept(values, change) if values.before[setting] else None
        stored = self._store(change, kept)
        self._line.outlets.setting_changed(change)
        return Applied(change, stored)

    def _kept(self, values: _Values, change: SettingChange) -> KeptSetting:
        setting = change.setting
        return KeptSetting(
            change.new,
            values.configured[setting],
            tuple(values.before[setting]),
            change.who,
            change.reason,
            change.time_utc,
        )

    def _store(self, change: SettingChange, kept: KeptSetting | None) -> bool:
        """Hand a change to the store and return whether it is on the disk soon."""
        if self._line.store is None:
            return False
        return self._line.store.put_and_wait(
            partial(keep, change=change, kept=kept), _KEPT_WITHIN_S
        )

    def _take_over(self, name: str, setting: Setting, kept: KeptSetting) -> None:
        values = self._values[name]
        old = _read(values.camera, setting)
        _apply(values.camera, setting, kept.value)
        values.before[setting] = list(kept.before)
        change = SettingChange(
            name, setting, SettingStep.KEPT, old, kept.value, kept.who, kept.reason, kept.time_utc
        )
        self._restored.append(change)
        if setting is Setting.PAUSED:
            _log.warning(
                "%s: is paused, by %s at %s%s. No part of it is judged until it is resumed.",
                *(name, kept.who, kept.time_utc, _because(kept)),
            )
            return
        _log.warning(
            "%s: the %s is %s, set by %s at %s%s, and not %s as configured.",
            *(name, setting.value, value_text(kept.value), kept.who, kept.time_utc),
            *(_because(kept), value_text(old)),
        )

    def _replace(self, name: str, setting: Setting, kept: KeptSetting) -> None:
        """Forget a value: the configuration is newer than it."""
        new = _read(self._values[name].camera, setting)
        reason = f"the configuration was changed after {kept.who} had set it at {kept.time_utc}"
        change = SettingChange(
            *(name, setting, SettingStep.REPLACED, kept.value, new, _CONFIGURATION, reason),
            time_utc=now_utc(),
        )
        self._store(change, None)
        self._restored.append(change)
        _log.warning(
            "%s: the %s is %s, as configured now, and no longer %s, which %s had set at %s.",
            *(name, setting.value, value_text(new), value_text(kept.value), kept.who),
            kept.time_utc,
        )

    def _of(self, camera: str) -> _Values:
        values = self._values.get(camera)
        if values is None:
            names = ", ".join(self._values)
            raise UsageError(f"the line has no camera '{camera}'. It has: {names}.")
        return values


def _because(kept: KeptSetting) -> str:
    return f" ({kept.reason})" if kept.reason else ""


def _read_all(camera: Camera) -> dict[Setting, Any]:
    """Return what is configured for a camera, with all that it depends on."""
    return {setting: camera.configured.get(setting, _read(camera, setting)) for setting in Setting}


def _read(camera: Camera, setting: Setting) -> Any:
    if setting is Setting.THRESHOLD:
        return camera.inspector.thresholds.image
    return asdict(camera.alarm.rule) if setting is Setting.RULE else camera.pause.on


def _apply(camera: Camera, setting: Setting, value: Any) -> None:
    if setting is Setting.THRESHOLD:
        camera.inspector.thresholds = replace(camera.inspector.thresholds, image=value)
    elif setting is Setting.RULE:
        camera.alarm.rule = AlarmRule(**value)
    else:
        _pause(camera, on=value)


def _pause(camera: Camera, *, on: bool) -> None:
    camera.pause.set(on=on)
    if camera.trigger is not None:
        camera.trigger.paused = on
    if on and camera.recorder is not None:
        camera.recorder.paused()
