"""What a PLC may know of a line: the newest result of each camera, or those that wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_ad.errors import UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection
from edge_ad.outlet.base import Evidence, Outlet, TriggerInput
from edge_ad.outlet.modbus_map import CameraState, encode
from edge_ad.setting import Setting, SettingChange
from edge_ad.uri import Uri, number, one_of

if TYPE_CHECKING:
    from edge_ad.store.store import Store

# pymodbus logs a line for each packet of a stranger and each attempt to connect
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
_BEATS_A_S = 1.0  # of the heartbeat, as Mech-Mind's


@dataclass(frozen=True, slots=True)
class PlcOptions:
    """The options of a Modbus URI."""

    camera: str = ""
    stale_s: float = 2.0
    high_first: bool = True
    handshake: bool = False
    take_triggers: bool = False


def parse_plc_options(uri: Uri) -> PlcOptions:
    """Read the options of a URI. Raises UsageError for an invalid value."""
    return PlcOptions(
        camera=uri.options.get("camera", ""),
        stale_s=number(uri, "stale_ms", 2000.0, least=1.0) / 1e3,
        high_first=one_of(uri, "words", ("big", "little"), "big") == "big",
        handshake=one_of(uri, "handshake", ("0", "1"), "0") == "1",
        take_triggers=one_of(uri, "trigger", ("0", "1"), "0") == "1",
    )


class PlcOutlet(Outlet):
    """Keeps the state of each camera for another thread, which never keeps the line waiting.

    Subclasses override `_changed`, called without the lock after each change, and `_check`.
    """

    def __init__(self, options: PlcOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options, self._clock = options, clock
        self._lock = threading.Lock()
        self._states: dict[str, CameraState] = {}
        self._cameras: dict[str, TriggerInput | None] = {}
        self._began_s = clock()

    def opened(self, cameras: Mapping[str, TriggerInput | None]) -> None:
        chosen, options = self._options.camera, self._options
        if chosen and chosen not in cameras:
            raise UsageError(
                f"{self.name} is for a camera '{chosen}'. The line has: {', '.join(cameras)}."
            )
        self._cameras = {name: cameras[name] for name in cameras if chosen in ("", name)}
        if options.take_triggers and not any(self._cameras.values()):
            raise UsageError(
                f"{self.name} takes triggers, but no camera waits for one. Give the line "
                "--trigger software, or leave trigger=1 out."
            )
        self._prepare()

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        if not self._cameras:  # not on a line that has opened it, as in a test
            self._cameras = dict.fromkeys(cameras)
            self._prepare()

    def _prepare(self) -> None:
        options = self._options
        self._states = {
            name: CameraState(options.stale_s, options.handshake, self._clock)
            for name in self._cameras
        }

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        with self._lock:
            state = self._states.get(inspection.camera)
            if state is None:
                return
            state.add(inspection)
        self._changed()
        self._check()

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        if event.kind is not AlarmKind.CAMERA_FAULT:
            return
        with self._lock:
            state = self._states.get(event.camera)
            if state is None:
                return
            state.fault(stands=event.event is not AlarmStep.END)
        self._changed()
        self._check()

    def setting_changed(self, change: SettingChange) -> None:
        with self._lock:
            state = self._states.get(change.camera)
            if state is None or change.setting is not Setting.PAUSED:
                return
            state.paused = bool(change.new)
            state.newest = None  # it says nothing about the next part
        self._changed()

    def blocks(self) -> list[list[int]]:
        """Return the words of each camera's block."""
        with self._lock:
            return self._encoded()

    def _stop(self) -> None:
        with self._lock:
            for state in self._states.values():
                state.stopped = True
        self._changed()

    def _encoded(self) -> list[list[int]]:
        beat = int((self._clock() - self._began_s) * _BEATS_A_S)
        return [
            encode(
                self._states[name],
                beat,
                ready=trigger is None or trigger.ready,
                busy=trigger is not None and trigger.busy,
                high_first=self._options.high_first,
            )
            for name, trigger in self._cameras.items()
        ]

    def _changed(self) -> None:
        """Take note of a change; return at once."""

    def _check(self) -> None:
        """Raise what went wrong meanwhile, as OSError."""
