"""The register block: what a PLC may take for a verdict, and that docs/modbus.md says the same."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.modbus_map import (
    ACKNOWLEDGE,
    BLOCK,
    BUFFER,
    FIELDS,
    LENGTH,
    CameraState,
    ErrorCode,
    Status,
    decode,
    encode,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "modbus.md"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def part(number: int, verdict: Verdict = Verdict.PASS) -> Inspection:
    return Inspection(verdict, 0.25, 0.5, part=number, latency_s=0.012, camera="top")


def words(state: CameraState, *, high_first: bool = True) -> list[int]:
    return encode(state, 70_001, ready=True, busy=False, high_first=high_first)


def shown(state: CameraState) -> tuple[int, Status, ErrorCode]:
    values = decode(words(state))
    assert values["result_id"] == values["result_id_again"]
    return int(values["result_id"]), Status(int(values["status"])), ErrorCode(int(values["error"]))


def test_the_page_has_the_registers_of_the_block() -> None:
    rows = re.findall(
        r"^\| (\d+)(?:-(\d+))? \| `(\w+)` \| (\w+) \|", PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert [(int(first), int(last or first), name, kind) for first, last, name, kind in rows] == [
        (each.address, each.address + each.words - 1, each.name, each.kind) for each in FIELDS
    ]


def test_the_page_has_the_bits_the_errors_and_the_addresses() -> None:
    text = PAGE.read_text("utf-8")
    bits = re.findall(r"^\| bit (\d+) \| (\w+) \|", text, re.MULTILINE)
    assert [(1 << int(bit), name) for bit, name in bits] == [
        (each.value, each.name.lower()) for each in Status if each.name
    ]
    errors = re.findall(r"^\| error (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    assert [(int(code), name) for code, name in errors] == [
        (each.value, each.name.lower()) for each in ErrorCode
    ]
    assert f"registers {ACKNOWLEDGE} and {ACKNOWLEDGE + 1}" in text
    assert f"{BLOCK} registers" in text and f"first {LENGTH} registers" in text


@pytest.mark.parametrize("high_first", [True, False])
def test_values_come_back_in_either_word_order(high_first: bool) -> None:  # noqa: FBT001
    state = CameraState(2.0, clock=Clock())
    state.add(replace(part(0x12345), regions=()))
    block = words(state, high_first=high_first)
    assert len(block) == LENGTH <= ACKNOWLEDGE and all(0 <= word <= 0xFFFF for word in block)
    assert block[1:3] == ([1, 0x2345] if high_first else [0x2345, 1])
    values = decode(block, high_first=high_first)
    assert values["heartbeat"] == 70_001 - 0x10000 and values["result_id"] == 0x12345
    assert (values["score"], values["threshold"]) == (0.25, 0.5)
    assert values["latency_ms"] == pytest.approx(12.0)
    assert (values["verdict"], values["pass_count"]) == (1, 1)


@pytest.mark.parametrize("score", [math.inf, -math.inf, 1e300, -1e300])
def test_scores_beyond_a_float_are_infinite(score: float) -> None:
    state = CameraState(2.0, clock=Clock())
    state.add(replace(part(1), score=score))
    assert decode(words(state))["score"] == math.copysign(math.inf, score)


def test_pass_and_fail_are_two_bits_and_both_are_off_unless_a_fresh_verdict_stands() -> None:
    clock = Clock()
    state = CameraState(2.0, clock=clock)
    no_verdict = Status.ONLINE | Status.READY
    assert shown(state) == (0, no_verdict, ErrorCode.NO_RESULT)
    state.add(part(1))
    assert shown(state) == (1, no_verdict | Status.VALID | Status.PASS, ErrorCode.NONE)
    state.add(part(2, Verdict.REJECT))
    assert shown(state) == (2, no_verdict | Status.VALID | Status.FAIL, ErrorCode.NONE)
    clock.now += 2.1
    assert shown(state) == (2, no_verdict, ErrorCode.STALE)
    state.add(part(3, Verdict.INVALID))
    assert shown(state) == (3, no_verdict, ErrorCode.INVALID)
    assert math.isnan(decode(words(state))["score"])
    state.add(replace(part(4, Verdict.INVALID), missed_triggers=3))
    assert shown(state) == (4, no_verdict, ErrorCode.MISSED_TRIGGER)
    state.add(part(5))
    state.paused = True
    assert shown(state) == (5, Status.ONLINE, ErrorCode.PAUSED)
    state.stopped = True
    assert shown(state) == (5, Status(0), ErrorCode.STOPPED)
    values = decode(words(state))
    counts = ("pass_count", "fail_count", "invalid_count", "missed_count")
    assert [values[name] for name in counts] == [2, 1, 2, 3]


def test_a_camera_in_fault_shows_no_verdict_until_a_frame_is_judged_again() -> None:
    state = CameraState(2.0, clock=Clock())
    state.add(part(1))
    state.fault(stands=True)
    assert shown(state) == (1, Status.ONLINE | Status.FAULT, ErrorCode.INVALID)
    state.add(part(2))
    status = Status.ONLINE | Status.FAULT | Status.VALID | Status.PASS
    assert shown(state) == (2, status, ErrorCode.NONE), "the fault is damped and still stands"
    state.fault(stands=False)
    assert shown(state)[1] == Status.ONLINE | Status.READY | Status.VALID | Status.PASS


def test_results_wait_until_their_id_is_acknowledged_once() -> None:
    clock = Clock()
    state = CameraState(2.0, handshake=True, clock=clock)
    for number, verdict in enumerate(Verdict, 1):
        state.add(part(number, verdict))
    clock.now += 3600
    assert shown(state)[0] == 1 and shown(state)[2] is ErrorCode.NONE, "it waits for a slow PLC"
    assert not state.acknowledge(2) and state.acknowledge(1)
    assert not state.acknowledge(1), "a second acknowledgement of the same result does nothing"
    assert shown(state)[:2] == (2, Status.ONLINE | Status.READY | Status.VALID | Status.FAIL)
    assert state.acknowledge(2) and shown(state)[2] is ErrorCode.INVALID
    assert state.acknowledge(3) and shown(state)[0] == 0
    assert decode(words(state))["waiting"] == 0 and shown(state)[2] is ErrorCode.NO_RESULT


def test_a_pass_that_gives_way_to_a_reject_is_an_overrun() -> None:
    state = CameraState(2.0, handshake=True, clock=Clock())
    for number in range(1, BUFFER + 1):
        state.add(part(number))
    state.add(part(20, Verdict.REJECT))
    assert [result.part for result in state.waiting] == [*range(1, BUFFER), 20]
    assert state.overrun and state.counts.overrun == 1
    assert (state.counts.passed, state.counts.failed) == (BUFFER, 1), "all of them were judged"


def test_a_full_buffer_reports_the_overrun_and_keeps_rejects_before_passes() -> None:
    state = CameraState(2.0, handshake=True, clock=Clock())
    for number in range(1, BUFFER + 1):
        state.add(part(number))
    assert not state.overrun
    state.add(part(20))
    assert state.overrun and state.counts.overrun == 1
    for number in range(30, 30 + BUFFER):
        state.add(part(number, Verdict.REJECT))
    waiting = [result.part for result in state.waiting]
    assert waiting == [1, *range(30, 29 + BUFFER)], "the first one is being read"
    assert state.counts.overrun == 2 * BUFFER + 1 - len(waiting)
    for number in waiting:
        assert Status.OVERRUN in shown(state)[1]
        state.acknowledge(number)
    assert not state.overrun and state.counts.failed == BUFFER
