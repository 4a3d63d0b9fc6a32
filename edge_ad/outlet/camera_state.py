"""The state of each camera in one word, from its alarms and faults."""

from __future__ import annotations

from typing import Any

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep


class CameraStates:
    """Follows alarms. A camera is `waiting` until its first verdict, then `ok`.

    An alarm makes it `alarm`, a fault of the camera `fault`, a person `paused`, the end of the line
    `stopped`. After a pause it is `waiting` again. Not locked: outlets have one call at a time.
    """

    def __init__(self) -> None:
        self._open: dict[str, dict[str, AlarmEvent]] = {}
        self._judged: set[str] = set()
        self._stopped: set[str] = set()
        self._paused: set[str] = set()

    def judged(self, camera: str) -> bool:
        """Note a verdict; return whether the state has changed."""
        new = camera not in self._judged
        self._judged.add(camera)
        return new

    def alarmed(self, event: AlarmEvent) -> bool:
        """Note a step of an alarm; return whether the state has changed."""
        alarms = self._open.setdefault(event.camera, {})
        before = len(alarms)
        if event.event is AlarmStep.END:
            alarms.pop(event.id, None)
        else:
            alarms[event.id] = event
        return before != len(alarms)

    def pause(self, camera: str, *, on: bool) -> None:
        """Note the beginning or end of a pause."""
        self._judged.discard(camera)
        self._paused.add(camera) if on else self._paused.discard(camera)

    def stop(self, camera: str) -> None:
        """Note the end of the line."""
        self._stopped.add(camera)

    def record(self, camera: str) -> dict[str, Any]:
        """Return the state as JSON values: `state`, with `alarm` and `reason` of what caused it."""
        if camera in self._stopped:
            return {"state": "stopped"}
        if camera in self._paused:
            return {"state": "paused"}
        alarms = list(self._open.get(camera, {}).values())
        faults = [event for event in alarms if event.kind is AlarmKind.CAMERA_FAULT]
        if not alarms:
            return {"state": "ok" if camera in self._judged else "waiting"}
        cause = (faults or alarms)[-1]
        reason = {"reason": cause.reason} if cause.reason else {}
        return {"state": "fault" if faults else "alarm", "alarm": cause.id} | reason
