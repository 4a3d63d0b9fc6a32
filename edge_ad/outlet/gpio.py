"""Drive a rejector by a GPIO line (`gpio://CHIP/LINE`), in step with the parts on the belt."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_ad.errors import UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.gpio import GpioPlace, OutputLine, choice, parse_place
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.pulses import PulseSchedule
from edge_ad.setting import Setting, SettingChange
from edge_ad.uri import Uri, number

if TYPE_CHECKING:
    from edge_ad.store.store import Store

_REOPEN_S = 1.0
_DRAIN_S = 10.0  # at the end, for parts that are still on their way
_GONE = ("lost:", "ended:")  # reasons of camera faults after which no frame comes
_TOO_LATE = "a reject came after its part had passed the rejector"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GpioOptions:
    """Times of the pulse, and levels: which is active, and which is driven without verdicts.

    A camera is without verdicts `stale_s` after its last one.
    """

    pulse_s: float = 0.05
    delay_s: float = 0.0
    active_low: bool = False
    failsafe: bool = True
    stale_s: float = float("inf")


def parse_gpio(uri: Uri) -> tuple[GpioPlace, GpioOptions]:
    """Read a URI. Raises UsageError."""
    options = GpioOptions(
        number(uri, "pulse_ms", 50.0, least=1.0) / 1e3,
        number(uri, "delay_ms", 0.0) / 1e3,
        choice(uri, "active_low", {"0": 0, "1": 1}) == "1",
        choice(uri, "failsafe", {"reject": 1, "pass": 0}) == "reject",
        number(uri, "stale_ms", 0.0) / 1e3 or float("inf"),
    )
    if not options.failsafe and options.stale_s != float("inf"):
        raise UsageError(f"{uri}: option stale_ms has no effect with failsafe=pass.")
    if options.delay_s > 3600:
        raise UsageError(f"{uri}: option delay_ms must be up to an hour, got {options.delay_s} s.")
    return parse_place(uri), options


def open_gpio(uri: Uri) -> GpioOutlet:
    """Open the line of a URI, at its fail-safe level. Raises OSError, UsageError."""
    return GpioOutlet(*parse_gpio(uri))


class GpioOutlet(Outlet):
    """Pulses for every part that is rejected or INVALID, and holds as long as an alarm stands.

    A pulse begins `delay_s` after the part's trigger or capture. Of parts that were missed without
    a time of their own, it is known that they came after the last one that has one. Without
    verdicts (before the start, after the end, while a camera is gone or paused) the line is at its
    fail-safe level, by default active. A reject that comes too late for its part, or that the chip
    does not take, is raised as OSError by the next call, so that it is counted.
    """

    def __init__(
        self, place: GpioPlace, options: GpioOptions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._place, self._options, self._clock = place, options, clock
        self._schedule = PulseSchedule(options.delay_s, options.pulse_s)
        self._cameras: tuple[str, ...] = ()
        self._moments: dict[str, float] = {}  # of each camera's last part
        self._judged_s: dict[str, float] = {}  # when each camera's last verdict came
        self._changed = threading.Condition()
        self._error: OSError | None = None
        self._closed = False
        self._level, self._rose_s = options.failsafe, float("-inf")
        self._line: OutputLine | None = self._open()
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)

    @property
    def name(self) -> str:
        return f"gpio://{self._place.chip.removeprefix('/dev/')}/{self._place.line}"

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        self._cameras = tuple(cameras)
        if self._options.failsafe:
            for camera in cameras:  # until its first verdict
                self._schedule.hold(f"gone {camera}", self._clock() - self._options.delay_s)
        self._thread.start()

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        now_s = self._clock()
        moment_s = now_s - inspection.latency_s
        with self._changed:
            before_s = self._moments.get(inspection.camera, moment_s)
            self._moments[inspection.camera] = moment_s
            if inspection.verdict is not Verdict.INVALID:
                self._judged_s[inspection.camera] = now_s
                self._hold(f"gone {inspection.camera}", moment_s, stands=False)
            elif self._options.failsafe and inspection.reason.startswith(_GONE):
                self._hold(f"gone {inspection.camera}", moment_s, stands=True)
            elif self._options.failsafe and _has_no_moment(inspection):
                self._schedule.pulse_between(min(before_s, moment_s), now_s, now_s)
                self._changed.notify_all()
            elif self._options.failsafe:
                self._pulse(moment_s)
        self._raise_late_error()

    def rejected(self, inspection: Inspection, evidence: Evidence) -> None:
        with self._changed:
            self._pulse(self._moments[inspection.camera])
        self._raise_late_error()

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        with self._changed:
            moment_s = self._moments.get(event.camera, self._clock())
            stands = event.event is not AlarmStep.END
            if event.kind is AlarmKind.DEFECT:
                self._hold(f"alarm {event.id}", moment_s, stands=stands)
            elif stands and self._options.failsafe and event.reason.startswith(_GONE):
                self._hold(f"gone {event.camera}", self._clock(), stands=True)
        self._raise_late_error()

    def setting_changed(self, change: SettingChange) -> None:
        """Hold the fail-safe level during a pause, and after it until the first verdict."""
        if change.setting is Setting.PAUSED and change.new and self._options.failsafe:
            with self._changed:
                self._hold(f"gone {change.camera}", self._clock(), stands=True)

    def test(self) -> str:
        """Pulse once. Raises OSError when the chip does not take it."""
        now_s = self._clock()
        with self._changed:
            for camera in self._cameras:
                self._hold(f"gone {camera}", now_s - self._options.delay_s, stands=False)
            self._schedule.pulse(now_s, now_s)
            self._changed.notify_all()
        time.sleep(self._options.delay_s + 2 * self._options.pulse_s)
        self._raise_late_error()
        return f"pulsed for {self._options.pulse_s * 1e3:g} ms"

    def close(self) -> None:
        """Leave the line at its fail-safe level; without one, pulses under way are finished."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_DRAIN_S + 2.0)
        if self._line is not None:
            self._drive(self._options.failsafe)
        if self._line is not None:
            self._line.close()
            self._line = None
        self._raise_late_error()

    def _pulse(self, moment_s: float) -> None:
        late_s = self._schedule.pulse(moment_s, self._clock())
        if late_s > self._options.pulse_s and self._options.delay_s:
            self._error = OSError(f"{_TOO_LATE}. Give more delay_ms, or a rejector further away")
        self._changed.notify_all()

    def _hold(self, key: str, moment_s: float, *, stands: bool) -> None:
        if stands:
            self._schedule.hold(key, moment_s)
        else:
            self._schedule.release(key, moment_s)
        self._changed.notify_all()

    def _raise_late_error(self) -> None:
        with self._changed:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def _note_error(self, error: OSError) -> None:
        with self._changed:  # none that comes while another is taken is lost
            self._error = error

    def _open(self) -> OutputLine:
        return OutputLine(self._place, active=self._level, active_low=self._options.active_low)

    def _work(self) -> None:
        while (level := self._next_level()) is not None:
            if self._line is None:
                self._reopen()
            else:
                self._drive(level)

    def _next_level(self) -> bool | None:
        """Wait for a level other than the line's, and return it; None when all is done."""
        with self._changed:
            drained_s = float("inf")
            while True:
                now_s = self._clock()
                level, change_s = self._due(now_s)  # a pulse that is late is still to come
                if self._closed:
                    drained_s = min(drained_s, now_s + _DRAIN_S)
                    if self._is_done(now_s, drained_s):
                        return None
                if level is not self._level or self._line is None:
                    return level
                self._changed.wait(None if change_s == float("inf") else change_s - now_s)

    def _is_done(self, now_s: float, drained_s: float) -> bool:
        """Return whether a line that ends needs no more pulses: its fail-safe level is one."""
        return self._options.failsafe or now_s >= min(drained_s, self._schedule.last_end_s())

    def _due(self, now_s: float) -> tuple[bool, float]:
        """Return the level that the line should have, and when that changes by itself."""
        change_s = self._schedule.next_change_s(now_s)
        stale_s = min(self._judged_s.values(), default=float("inf")) + self._options.stale_s
        if now_s >= stale_s:
            return True, float("inf")
        if self._schedule.active(now_s):
            self._note_late_pulse()
            return True, min(self._schedule.next_change_s(now_s), stale_s)
        full_s = self._rose_s + self._options.pulse_s
        if now_s < full_s:  # it rose late: a rejector needs its whole pulse
            return True, full_s
        return False, min(change_s, stale_s)

    def _note_late_pulse(self) -> None:
        """Report a pulse that this thread could not begin while it should have lasted."""
        late_s, self._schedule.late_s = self._schedule.late_s, 0.0
        if late_s and self._options.delay_s:
            self._error = OSError(f"{_TOO_LATE}: this computer was busy, by {late_s * 1e3:.0f} ms")

    def _drive(self, level: bool) -> None:  # noqa: FBT001
        try:
            if self._line is not None:
                self._line.set(level)
                self._level = level
                self._rose_s = self._clock() if level else self._rose_s
        except OSError as error:
            _log.error("%s: %s. Trying to open it again.", self.name, error.strerror or error)
            self._note_error(error)
            line, self._line = self._line, None
            if line is not None:
                line.close()

    def _reopen(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, _REOPEN_S)
        try:
            with self._changed:  # calls add pulses meanwhile
                self._level, _ = self._due(self._clock())
            self._line = self._open()
        except OSError as error:
            self._note_error(error)
        else:
            _log.info("%s: opened again", self.name)


def _has_no_moment(inspection: Inspection) -> bool:
    """Return whether it stands for several parts, or for one whose frame was dropped."""
    missed = inspection.missed_triggers
    return missed > 1 or (missed == 1 and not inspection.latency_s)
