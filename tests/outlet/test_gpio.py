"""The GPIO outlet, against a fake chip at gpiod's seam (see `tests.gpio`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from edge_ad.errors import OutletLost, UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.pulses import PulseSchedule
from edge_ad.outlet.registry import open_outlet
from edge_ad.setting import Setting, SettingChange, SettingStep
from tests.conftest import invoke
from tests.gpio import FakeGpio
from tests.timing import LIMIT_S, wait_until

gpiod = pytest.importorskip("gpiod")
ALARM = AlarmEvent(AlarmStep.NEW, "a", AlarmKind.DEFECT, "uri", 1, 1, 1, 0.9, 0.5, camera="top")
FAULT = replace(ALARM, kind=AlarmKind.CAMERA_FAULT, reason="lost: no frame for 10 s")
PAUSED = SettingChange("top", Setting.PAUSED, SettingStep.SET, old=False, new=True, who="anna")
Gpio = Any


@pytest.fixture
def gpio(monkeypatch: pytest.MonkeyPatch) -> FakeGpio:
    chip = FakeGpio()
    monkeypatch.setattr(gpiod, "request_lines", chip.request_lines)
    return chip


@contextmanager
def opened(options: str = "?failsafe=pass") -> Iterator[Gpio]:
    outlet: Gpio = open_outlet(f"gpio://gpiochip0/17{options}")
    outlet.started(["top"], None)
    try:
        yield outlet
    finally:
        try:
            outlet.close()
        except OSError as error:
            assert "this computer was busy" in str(error)  # as it may be during tests


def part(verdict: Verdict = Verdict.REJECT, latency_s: float = 0.0) -> Inspection:
    return Inspection(verdict, 0.9, 0.5, camera="top", latency_s=latency_s)


def judge(outlet: Gpio, inspection: Inspection) -> None:
    outlet.inspected(inspection, Evidence())
    if inspection.verdict is Verdict.REJECT:
        outlet.rejected(inspection, Evidence())


def levels(gpio: FakeGpio) -> str:
    return "".join("_-"[level] for _, level in gpio.levels)


def wait_for(gpio: FakeGpio, expected: str) -> None:
    with gpio.changed:
        assert gpio.changed.wait_for(lambda: levels(gpio) == expected, LIMIT_S), levels(gpio)


def test_a_rejected_part_is_pulsed_when_it_reaches_the_rejector(gpio: FakeGpio) -> None:
    with opened("?failsafe=pass&pulse_ms=20&delay_ms=300") as outlet:
        judge(outlet, part(Verdict.PASS))
        captured_s = time.monotonic() - 0.03
        judge(outlet, part(latency_s=0.03))
        wait_for(gpio, "_-_")
    (_, begin), (_, end) = gpio.levels[1], gpio.levels[2]
    assert begin and not end
    assert gpio.levels[1][0] >= captured_s + 0.3, "not before the part is there"
    assert gpio.levels[2][0] - gpio.levels[1][0] >= 0.019
    assert gpio.released == 1


def test_without_delay_an_alarm_of_a_stream_holds_the_line(gpio: FakeGpio) -> None:
    with opened() as outlet:
        outlet.inspected(part(), Evidence())
        outlet.alarmed(ALARM, Evidence())
        wait_for(gpio, "_-")
        outlet.inspected(part(), Evidence())
        outlet.inspected(part(Verdict.PASS), Evidence())
        outlet.alarmed(replace(ALARM, event=AlarmStep.END), Evidence())
        wait_for(gpio, "_-_")


def test_a_part_without_a_verdict_is_rejected_unless_it_is_to_pass(gpio: FakeGpio) -> None:
    with opened("?pulse_ms=5") as outlet:
        judge(outlet, part(Verdict.PASS))
        wait_for(gpio, "-_")
        judge(outlet, part(Verdict.INVALID))
        wait_for(gpio, "-_-_")
    assert levels(gpio) == "-_-_-"
    gpio.levels.clear()
    with opened("?pulse_ms=5&failsafe=pass") as outlet:
        judge(outlet, part(Verdict.INVALID))
        judge(outlet, part())
        wait_for(gpio, "_-_")


def test_a_part_without_a_verdict_passes_where_it_is_to_pass(
    gpio: FakeGpio, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(PulseSchedule):
        def pulse(self, moment_s: float, now_s: float) -> float:
            asked.append("pulse")
            return super().pulse(moment_s, now_s)

        def pulse_between(self, first_s: float, last_s: float, now_s: float) -> None:
            asked.append("pulse between")
            super().pulse_between(first_s, last_s, now_s)

        def hold(self, key: str, moment_s: float) -> None:
            asked.append(f"hold {key}")
            super().hold(key, moment_s)

    asked: list[str] = []
    monkeypatch.setattr("edge_ad.outlet.gpio.PulseSchedule", Asked)
    with opened("?pulse_ms=5&failsafe=pass") as outlet:
        for missed in (0, 1, 3):
            judge(outlet, replace(part(Verdict.INVALID), missed_triggers=missed))
        judge(outlet, replace(part(Verdict.INVALID), reason=FAULT.reason))
        outlet.alarmed(FAULT, Evidence())
        outlet.setting_changed(PAUSED)
        assert asked == []
        judge(outlet, part())
    assert asked == ["pulse"]


@pytest.mark.parametrize(("missed", "latency_s"), [(1, 0.0), (3, 0.0), (3, 0.2)])
def test_parts_without_a_time_are_rejected_since_the_last_one_that_has_one(
    gpio: FakeGpio, monkeypatch: pytest.MonkeyPatch, missed: int, latency_s: float
) -> None:
    class Asked(PulseSchedule):
        def pulse_between(self, first_s: float, last_s: float, now_s: float) -> None:
            spans.append((first_s, last_s))
            super().pulse_between(first_s, last_s, now_s)

    spans: list[tuple[float, float]] = []
    monkeypatch.setattr("edge_ad.outlet.gpio.PulseSchedule", Asked)
    with opened("?pulse_ms=5") as outlet:
        captured_s = time.monotonic() - 0.5
        judge(outlet, part(Verdict.PASS, latency_s=0.5))
        wait_for(gpio, "-_")
        judge(outlet, replace(part(Verdict.INVALID, latency_s), missed_triggers=missed))
        wait_for(gpio, "-_-_")
    ((first_s, last_s),) = spans
    assert captured_s <= first_s < last_s - 0.5 < time.monotonic() - 0.5


def test_the_line_is_at_its_fail_safe_level_while_there_are_no_verdicts(gpio: FakeGpio) -> None:
    with opened("?active_low=1&pulse_ms=5") as outlet:
        assert gpio.settings.active_low and levels(gpio) == "-", "before the first verdict"
        judge(outlet, part(Verdict.PASS))
        wait_for(gpio, "-_")
        outlet.alarmed(FAULT, Evidence())
        wait_for(gpio, "-_-")
        judge(outlet, part(Verdict.PASS))
        wait_for(gpio, "-_-_")
        outlet.alarmed(replace(FAULT, event=AlarmStep.END), Evidence())
        gone = replace(part(Verdict.INVALID), reason=FAULT.reason)
        judge(outlet, gone)  # again, while the damped fault still stands
        wait_for(gpio, "-_-_-")
        judge(outlet, part(Verdict.PASS))
        wait_for(gpio, "-_-_-_")
        outlet.setting_changed(PAUSED)
        wait_for(gpio, "-_-_-_-")
        outlet.setting_changed(replace(PAUSED, new=False))
        judge(outlet, part(Verdict.PASS))
        wait_for(gpio, "-_-_-_-_")
    assert levels(gpio) == "-_-_-_-_-" and gpio.released == 1, "after the end"


class Clock:
    """Stands still until a test moves it; knows which threads asked for the time."""

    def __init__(self) -> None:
        self.now, self.asked = 100.0, set[str]()

    def __call__(self) -> float:
        self.asked.add(threading.current_thread().name)
        return self.now


@contextmanager
def at_a_clock(**options: Any) -> Iterator[tuple[Gpio, Clock]]:
    from edge_ad.gpio import GpioPlace
    from edge_ad.outlet.gpio import GpioOptions, GpioOutlet

    clock = Clock()
    outlet = GpioOutlet(GpioPlace("/dev/gpiochip0", 17), GpioOptions(**options), clock)
    outlet.started(["top"], None)
    wait_until(lambda: outlet.name in clock.asked)
    try:
        yield outlet, clock
    finally:
        outlet.close()


def test_before_the_first_verdict_no_delay_keeps_the_fail_safe_level_away(gpio: FakeGpio) -> None:
    with at_a_clock(delay_s=60):
        pass
    assert "_" not in levels(gpio)


def test_a_pulse_that_this_computer_was_too_busy_for_comes_late_and_is_an_error(
    gpio: FakeGpio,
) -> None:
    with at_a_clock(delay_s=60, pulse_s=0.05, failsafe=False) as (outlet, clock):
        judge(outlet, part())
        clock.now += 61
        wait_until(lambda: error_of(outlet).endswith("this computer was busy, by 1000 ms"))
        wait_for(gpio, "_-")
        clock.now += 1
        assert error_of(outlet) == ""
        wait_for(gpio, "_-_")


def test_a_line_whose_engine_hangs_is_stale_until_its_next_verdict(gpio: FakeGpio) -> None:
    with opened("?pulse_ms=5&stale_ms=400") as outlet:
        judge(outlet, part(Verdict.PASS))
        wait_for(gpio, "-_-")
        judge(outlet, part(Verdict.PASS))
        wait_until(lambda: levels(gpio).startswith("-_-_"))


def test_parts_on_their_way_at_the_end_are_still_rejected(gpio: FakeGpio) -> None:
    with opened("?failsafe=pass&pulse_ms=10&delay_ms=300") as outlet:
        judge(outlet, part())
    assert levels(gpio)[:3] == "_-_"


def test_a_test_pulses_once(gpio: FakeGpio) -> None:
    done = invoke("outlet", "test", "gpio://gpiochip0/17?pulse_ms=20&failsafe=pass")
    assert done.returncode == 0 and "pulsed for 20 ms" in done.stdout
    assert levels(gpio).rstrip("_") == "_-"  # closing drives it once more, if need be


def test_a_reject_that_comes_too_late_is_an_error(gpio: FakeGpio) -> None:
    with opened("?failsafe=pass&pulse_ms=10&delay_ms=20") as outlet:
        outlet.inspected(part(latency_s=0.5), Evidence())
        with pytest.raises(OSError, match="after its part had passed the rejector"):
            outlet.rejected(part(), Evidence())
        wait_for(gpio, "_-_")


def test_a_chip_that_goes_is_an_error_and_is_opened_again(
    gpio: FakeGpio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_ad.outlet.gpio._REOPEN_S", 0.01)
    with opened() as outlet:
        gpio.take_away()
        judge(outlet, part())
        wait_until(lambda: bool(caplog.text))
        wait_until(lambda: "No such" in error_of(outlet))
        gpio.gone = False
        before = len(gpio.levels)
        wait_until(lambda: len(gpio.levels) > before)
        wait_until(lambda: not error_of(outlet))
        judge(outlet, part())
        wait_until(lambda: levels(gpio).endswith("-_"))
    assert caplog.text.count("No such device") == 1


def error_of(outlet: Gpio) -> str:
    """Return the error that the next call raises, empty for none."""
    try:
        outlet.inspected(part(Verdict.PASS), Evidence())
    except OSError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("gpio://gpiochip0", UsageError, "expected CHIP/LINE"),
        ("gpio://gpiochip0/17?failsafe=open", UsageError, "must be reject or pass, got 'open'"),
        ("gpio://gpiochip0/17?pulse_ms=0", UsageError, "at least 1"),
        ("gpio://gpiochip0/17?failsafe=pass&stale_ms=9", UsageError, "has no effect"),
        ("gpio://gpiochip0/17?pulse=5", UsageError, "Did you mean 'pulse_ms'"),
        ("gpio://gpiochip7/17", OutletLost, "No such file"),
    ],
)
def test_a_line_that_is_none_is_refused(
    gpio: FakeGpio, uri: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_outlet(uri)
