"""Answer the requests to a line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge_ad.control.address import ATTACHED
from edge_ad.control.messages import (
    ALL_CAMERAS,
    AcknowledgeEvents,
    FireTrigger,
    GetLive,
    GetState,
    PauseCamera,
    Request,
    ResumeCamera,
    SetRule,
    SetThreshold,
    UndoSetting,
)
from edge_ad.control.refusals import Refusals
from edge_ad.control.state import camera_state
from edge_ad.errors import UsageError
from edge_ad.line.settings import Applied, LineSettings
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.trigger_input import SOFTWARE
from edge_ad.outlet.latest_frames import LatestFrames
from edge_ad.outlet.records import setting_record
from edge_ad.setting import Setting
from edge_ad.store.notes import acknowledge_through
from edge_ad.store.store import Store

Answer = dict[str, Any]


class Commands:
    """What the control socket of a line can do. Raises UsageError for what the line has not."""

    def __init__(
        self,
        line: Supervisor,
        settings: LineSettings,
        store: Store,
        refusals: Refusals,
        latest: LatestFrames,
    ) -> None:
        self._line, self._settings, self._store = line, settings, store
        self._refusals, self._latest = refusals, latest
        self._began_s = time.monotonic()
        self._answers: dict[type, Callable[[Any, str], Answer]] = {
            GetState: self._state,
            GetLive: self._live,
            SetThreshold: self._set_threshold,
            SetRule: self._set_rule,
            UndoSetting: self._undo,
            PauseCamera: self._pause,
            ResumeCamera: self._pause,
            AcknowledgeEvents: self._acknowledge,
            FireTrigger: self._trigger,
        }

    def __call__(self, request: Request, who: str) -> Answer:
        """Return the answer to a request of a user."""
        return self._answers[type(request)](request, who)

    def _live(self, request: GetLive, who: str) -> Answer:
        latest, frames = self._latest.records(request.known)
        under_way = self._line.under_way()
        answer = self._state(request, who) | {"type": "live"}
        for camera in answer["cameras"]:
            name = camera["camera"]
            camera["latest"] = latest.get(name)
            camera["under_way"] = under_way.get(name)
            if name in frames:
                camera["latest"]["frame_hw"] = frames[name].shape[:2]
        names = [camera["camera"] for camera in answer["cameras"]]
        attached = [frames[name].data for name in names if name in frames]
        return answer | ({ATTACHED: attached} if attached else {})

    def _state(self, request: GetState | GetLive, who: str) -> Answer:
        return {
            "type": "state",
            "folder": str(self._store.path.parent.absolute()),
            "running_s": round(time.monotonic() - self._began_s, 1),
            "cameras": [camera_state(camera, self._settings) for camera in self._line.cameras],
            "store": {"lost": self._store.lost, "problem": self._store.problem},
            "outlet_faults": dict(self._line.outlets.faults),
            "certificates": self._line.outlets.named_certificates(),
            "refused_messages": self._refusals.count,
        }

    def _set_threshold(self, request: SetThreshold, who: str) -> Answer:
        camera = self._camera(request.camera)
        applied = self._settings.set_threshold(
            camera, request.threshold, who=who, reason=request.reason
        )
        return _answer([applied])

    def _set_rule(self, request: SetRule, who: str) -> Answer:
        rule = {"k": request.k, "n": request.n, "hysteresis": request.hysteresis}
        given = {key: value for key, value in rule.items() if value is not None}
        if not given:
            raise UsageError("a rule needs k, n or hysteresis.")
        camera = self._camera(request.camera)
        return _answer([self._settings.set_rule(camera, given, who=who, reason=request.reason)])

    def _undo(self, request: UndoSetting, who: str) -> Answer:
        setting, camera = Setting(request.setting), self._camera(request.camera)
        return _answer([self._settings.undo(camera, setting, who=who, reason=request.reason)])

    def _pause(self, request: PauseCamera | ResumeCamera, who: str) -> Answer:
        on = isinstance(request, PauseCamera)
        names = [camera.name for camera in self._line.cameras]
        if request.camera != ALL_CAMERAS:
            names = [self._camera(request.camera)]
        reason = request.reason
        return _answer(
            [self._settings.pause(name, on=on, who=who, reason=reason) for name in names]
        )

    def _acknowledge(self, request: AcknowledgeEvents, who: str) -> Answer:
        kept = acknowledge_through(self._store, request.ids, who, request.reason)
        return {"type": "acknowledged", "ids": request.ids, "who": who, "kept": kept}

    def _trigger(self, request: FireTrigger, who: str) -> Answer:
        name = self._camera(request.camera)
        camera = next(camera for camera in self._line.cameras if camera.name == name)
        if camera.trigger is None or not camera.software_trigger:
            raise UsageError(
                f"camera {name} has no software trigger. Start the line with --trigger {SOFTWARE}."
            )
        if camera.pause.on:
            raise UsageError(f"camera {name} is paused: its triggers are ignored.")
        return {"type": "trigger", "camera": name, "accepted": camera.trigger.fire()}

    def _camera(self, name: str | None) -> str:
        """Return the camera that is meant; without a name, the only one."""
        names = [camera.name for camera in self._line.cameras]
        if name is None and len(names) > 1:
            raise UsageError(f"which camera? The line has: {', '.join(names)}.")
        if name is not None and name not in names:
            raise UsageError(f"the line has no camera '{name}'. It has: {', '.join(names)}.")
        return names[0] if name is None else name


def _answer(applied: list[Applied]) -> Answer:
    return {
        "type": "settings",
        "settings": [setting_record(one.change) | {"kept": one.kept} for one in applied],
    }
