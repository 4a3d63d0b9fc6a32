"""The register block of one camera, as docs/modbus.md describes it: state in, words out.

A reader accepts a result whose id at the block's start equals that at its end. Float and 32-bit
values take two words, in the order that the outlet's `words` says.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from edge_ad.inspection import Inspection, Verdict

BLOCK = 100  # registers from one camera's block to the next
ACKNOWLEDGE = 40  # a PLC writes the result's id here, two words
BUFFER = 8  # results that wait for an acknowledgement


class Status(IntFlag):
    """Bits of the status word."""

    ONLINE = 1 << 0
    READY = 1 << 1
    BUSY = 1 << 2
    VALID = 1 << 3
    PASS = 1 << 4
    FAIL = 1 << 5
    FAULT = 1 << 6
    OVERRUN = 1 << 7


class ErrorCode(IntEnum):
    """Why there is no valid result."""

    NONE = 0
    NO_RESULT = 1  # since the start, or all are acknowledged
    STALE = 2
    INVALID = 3  # the frame could not be judged, or its camera is in fault
    MISSED_TRIGGER = 4
    STOPPED = 5
    PAUSED = 6


@dataclass(frozen=True, slots=True)
class Field:
    """One value of the block; `kind` is uint16, uint32 or float32."""

    name: str
    address: int
    kind: str

    @property
    def words(self) -> int:
        return 1 if self.kind == "uint16" else 2


def _layout(*fields: tuple[str, str]) -> tuple[Field, ...]:
    placed: list[Field] = []
    address = 0
    for name, kind in fields:
        placed.append(Field(name, address, kind))
        address += placed[-1].words
    return tuple(placed)


FIELDS = _layout(
    ("heartbeat", "uint16"),
    ("result_id", "uint32"),
    ("status", "uint16"),
    ("error", "uint16"),
    ("verdict", "uint16"),
    ("regions", "uint16"),
    ("score", "float32"),
    ("threshold", "float32"),
    ("latency_ms", "float32"),
    ("pass_count", "uint32"),
    ("fail_count", "uint32"),
    ("invalid_count", "uint32"),
    ("missed_count", "uint32"),
    ("overrun_count", "uint32"),
    ("waiting", "uint16"),
    ("result_id_again", "uint32"),
)
LENGTH = FIELDS[-1].address + FIELDS[-1].words
_FORMATS = {"uint16": ">H", "uint32": ">I", "float32": ">f"}
_VERDICTS = {Verdict.PASS: 1, Verdict.REJECT: 2, Verdict.INVALID: 3}


@dataclass(frozen=True, slots=True)
class Result:
    """A verdict as a PLC reads it; `at_s` is when it came, on the monotonic clock."""

    part: int
    verdict: Verdict
    at_s: float
    score: float = 0.0
    threshold: float = 0.0
    latency_ms: float = 0.0
    regions: int = 0
    missed: int = 0


@dataclass
class PlcCounts:
    """Parts since the start, by outcome; `overrun` are results that no one read."""

    passed: int = 0
    failed: int = 0
    invalid: int = 0
    missed: int = 0
    overrun: int = 0


@dataclass
class CameraState:
    """What a PLC may know of one camera. Not locked: its outlet does that.

    Without `handshake` the newest result is shown, and it is stale after `stale_s`. With it,
    results wait in a buffer of eight until their id is acknowledged; a full buffer drops the newest
    result, but a reject takes the place of the newest one that passed.
    """

    stale_s: float
    handshake: bool = False
    clock: Callable[[], float] = time.monotonic
    counts: PlcCounts = field(default_factory=PlcCounts)
    waiting: deque[Result] = field(default_factory=deque)
    newest: Result | None = None
    in_fault: bool = False
    blind: bool = False  # no frame was judged since the fault began
    overrun: bool = False
    stopped: bool = False
    paused: bool = False

    def add(self, inspection: Inspection) -> None:
        """Take the verdict on one part."""
        result = _result(inspection, self.clock())
        self._count(result)
        self.newest = result
        self.blind = self.blind and result.verdict is Verdict.INVALID
        if not self.handshake:
            return
        if len(self.waiting) < BUFFER or self._make_room(result):
            self.waiting.append(result)
        else:
            self.counts.overrun += 1
            self.overrun = True

    def fault(self, *, stands: bool) -> None:
        """Note a step of the camera's fault."""
        self.in_fault = self.blind = stands

    def acknowledge(self, part: int) -> bool:
        """Take the result with this id off; return whether it was there.

        Any other id, such as that of one taken off before, does nothing.
        """
        if not self.waiting or self.waiting[0].part & 0xFFFFFFFF != part:
            return False
        self.waiting.popleft()
        self.overrun = self.overrun and bool(self.waiting)
        return True

    def shown(self) -> tuple[Result | None, ErrorCode]:
        """Return the result to show, and why it is not valid."""
        result = (self.waiting[0] if self.waiting else None) if self.handshake else self.newest
        if self.stopped:
            return result, ErrorCode.STOPPED
        if self.paused:
            return result, ErrorCode.PAUSED
        if result is None:
            return None, ErrorCode.NO_RESULT
        if self.blind and not self.handshake:
            return result, ErrorCode.INVALID
        if result.verdict is Verdict.INVALID:
            return result, ErrorCode.MISSED_TRIGGER if result.missed else ErrorCode.INVALID
        if not self.handshake and self.clock() - result.at_s > self.stale_s:
            return result, ErrorCode.STALE
        return result, ErrorCode.NONE

    def stale_in_s(self) -> float | None:
        """Return when the result shown becomes stale, None when it does not."""
        result, error = self.shown()
        if self.handshake or result is None or error is not ErrorCode.NONE:
            return None
        return max(0.0, result.at_s + self.stale_s - self.clock())

    def _count(self, result: Result) -> None:
        self.counts.passed += result.verdict is Verdict.PASS
        self.counts.failed += result.verdict is Verdict.REJECT
        self.counts.invalid += result.verdict is Verdict.INVALID
        self.counts.missed += result.missed

    def _make_room(self, result: Result) -> bool:
        """Drop the newest waiting result that passed for one that did not; the first one stays."""
        if result.verdict is Verdict.PASS:
            return False
        for position in range(len(self.waiting) - 1, 0, -1):
            if self.waiting[position].verdict is Verdict.PASS:
                del self.waiting[position]
                self.counts.overrun += 1
                self.overrun = True
                return True
        return False


def encode(
    state: CameraState, heartbeat: int, *, ready: bool, busy: bool, high_first: bool
) -> list[int]:
    """Return the words of the block: all of it at once, so that a result is never half old."""
    result, error = state.shown()
    shown = result or Result(0, Verdict.INVALID, 0.0)
    counts = state.counts
    values = {
        "heartbeat": heartbeat & 0xFFFF,
        "result_id": shown.part & 0xFFFFFFFF,
        "status": int(_status(state, shown, error, ready=ready, busy=busy)),
        "error": int(error),
        "verdict": _VERDICTS[shown.verdict] if result else 0,
        "regions": min(shown.regions, 0xFFFF),
        "score": shown.score,
        "threshold": shown.threshold,
        "latency_ms": shown.latency_ms,
        "pass_count": counts.passed & 0xFFFFFFFF,
        "fail_count": counts.failed & 0xFFFFFFFF,
        "invalid_count": counts.invalid & 0xFFFFFFFF,
        "missed_count": counts.missed & 0xFFFFFFFF,
        "overrun_count": counts.overrun & 0xFFFFFFFF,
        "waiting": len(state.waiting),
        "result_id_again": shown.part & 0xFFFFFFFF,
    }
    words: list[int] = []
    for each in FIELDS:
        words += to_words(values[each.name], each.kind, high_first=high_first)
    return words


def to_words(value: float, kind: str, *, high_first: bool) -> list[int]:
    """Return a value as one or two words."""
    try:
        data = struct.pack(_FORMATS[kind], value)
    except OverflowError:  # a score beyond float32
        data = struct.pack(_FORMATS[kind], float("inf") if value > 0 else float("-inf"))
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    return words if high_first else words[::-1]


def from_words(words: Sequence[int], kind: str, *, high_first: bool) -> float:
    """Return the value of one or two words."""
    ordered = list(words) if high_first else list(words)[::-1]
    value: float = struct.unpack(_FORMATS[kind], struct.pack(f">{len(ordered)}H", *ordered))[0]
    return value


def decode(words: Sequence[int], *, high_first: bool = True) -> dict[str, float]:
    """Return a block's values by name: what a PLC makes of it."""
    return {
        each.name: from_words(
            words[each.address : each.address + each.words], each.kind, high_first=high_first
        )
        for each in FIELDS
    }


def _status(
    state: CameraState, shown: Result, error: ErrorCode, *, ready: bool, busy: bool
) -> Status:
    status = Status(0)
    if error is ErrorCode.NONE:
        status |= Status.VALID
        status |= Status.PASS if shown.verdict is Verdict.PASS else Status.FAIL
    if not state.stopped:
        status |= Status.ONLINE
        status |= Status.READY if ready and not state.in_fault and not state.paused else Status(0)
        status |= Status.BUSY if busy else Status(0)
    status |= Status.FAULT if state.in_fault else Status(0)
    return status | (Status.OVERRUN if state.overrun else Status(0))


def _result(inspection: Inspection, now_s: float) -> Result:
    invalid = inspection.verdict is Verdict.INVALID
    return Result(
        inspection.part,
        inspection.verdict,
        now_s,
        score=float("nan") if invalid else inspection.score,
        threshold=inspection.threshold,
        latency_ms=inspection.latency_s * 1e3,
        regions=len(inspection.regions),
        missed=inspection.missed_triggers,
    )
