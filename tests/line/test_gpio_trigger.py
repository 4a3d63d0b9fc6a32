"""A trigger by GPIO, against a fake chip at gpiod's seam."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge_ad.errors import SourceLost, UsageError
from edge_ad.line.trigger import Trigger
from edge_ad.line.trigger_input import open_trigger
from tests.gpio import FakeGpio
from tests.timing import wait_until

gpiod = pytest.importorskip("gpiod")
URI = "gpio:gpiochip0/17?edge=falling&bias=pull-up&debounce_ms=50"


@pytest.fixture
def gpio(monkeypatch: pytest.MonkeyPatch) -> FakeGpio:
    chip = FakeGpio()
    monkeypatch.setattr(gpiod, "request_lines", chip.request_lines)
    return chip


class Fired(Trigger):
    """Keeps the moments it was fired at."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []

    def fire(self, moment_s: float | None = None) -> bool:
        assert moment_s is not None
        self.moments.append(moment_s)
        return super().fire(moment_s)


@pytest.fixture
def triggers() -> Iterator[list[Fired]]:
    yield [Fired(), Fired()]


def test_an_edge_fires_every_camera_at_the_kernel_s_time(
    gpio: FakeGpio, triggers: list[Fired]
) -> None:
    with open_trigger(URI, triggers):
        settings = gpio.settings
        words = gpiod.line
        assert settings.direction is words.Direction.INPUT
        assert settings.edge_detection is words.Edge.FALLING
        assert (
            settings.bias is words.Bias.PULL_UP and settings.debounce_period.total_seconds() == 0.05
        )
        gpio.edge(at_s=1000.0)
        wait_until(lambda: all(trigger.moments for trigger in triggers))
    assert [trigger.moments for trigger in triggers] == [[1000.0]] * 2
    assert gpio.released == 1


def test_a_bouncing_contact_fires_once(gpio: FakeGpio, triggers: list[Fired]) -> None:
    with open_trigger(URI, triggers):
        for at_s in (1000.0, 1000.003, 1000.02, 1000.049, 1000.2):
            gpio.edge(at_s)
        wait_until(lambda: 1000.2 in triggers[0].moments)
    assert triggers[0].moments == [1000.0, 1000.2]


def test_a_chip_that_goes_is_a_missed_trigger_and_comes_back(
    gpio: FakeGpio, triggers: list[Fired], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("edge_ad.line.gpio_trigger._REOPEN_S", 0.01)
    with open_trigger(URI, triggers):
        gpio.take_away()
        missed = triggers[0].wait_missed()
        assert missed is not None and missed.reason == "the trigger input is lost: No such device"
        gpio.gone = False
        gpio.edge(2000.0)
        wait_until(lambda: triggers[1].moments == [2000.0])
    assert caplog.text.count("is lost") == 1


def test_edges_that_the_kernel_had_no_room_for_are_missed_triggers(
    gpio: FakeGpio, triggers: list[Fired], caplog: pytest.LogCaptureFixture
) -> None:
    with open_trigger("gpio:gpiochip0/17", triggers):
        with gpio.changed:  # the thread cannot read
            for number in range(1030):
                gpio.edge(1000.0 + number)
        wait_until(lambda: len(triggers[0].moments) == 1024)
    assert triggers[1].moments[0] == 1006.0
    counts = triggers[0].counts
    assert (counts.fired, counts.missed) == (1030, 1030)  # no camera delivers
    first = triggers[0].wait_missed()
    assert first is not None and (first.count, first.reason[:10]) == (6, "edges came")
    assert "6 edges came faster" in caplog.text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("gpio:17", UsageError, "expected CHIP/LINE, such as gpiochip0/17, got '17'"),
        ("gpio:gpiochip0/17?edge=up", UsageError, "must be rising or falling, got 'up'"),
        ("gpio:gpiochip0/17?edges=rising", UsageError, "Did you mean 'edge'"),
        ("gpio:gpiochip1/17", SourceLost, "No such file"),
        ("gpio:gpiochip0/40", SourceLost, "line 40 of /dev/gpiochip0: failed to configure"),
        ("gpio:gpiochip0/LATCH", SourceLost, "line LATCH"),
    ],
)
def test_a_line_that_is_none_is_refused(
    gpio: FakeGpio, triggers: list[Fired], text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_trigger(text, triggers)
