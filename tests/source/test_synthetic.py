"""The synthetic line as a camera: reproducible, paced, and faulty on request."""

from __future__ import annotations

import pytest

from edge_ad.errors import SourceLost, SourceTimeout
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.frame_gate import FrameGate
from edge_ad.source import open_source
from edge_ad.source.synthetic import parse_faults
from edge_ad.synthetic_line import SyntheticLine, SyntheticLineSpec
from tests.timing import FakeClock, wait_until

pytestmark = pytest.mark.timeout(60)
SMALL = "pattern://?width=64&height=48&"


def grabs_of(options: str, timeout_s: float = 10) -> list[Grab]:
    with open_source(SMALL + options, timeout_s=timeout_s) as source:
        return list(source)


def test_without_a_pace_every_frame_comes_and_equals_the_line() -> None:
    grabs = grabs_of("fps=0&frames=6&seed=3")
    line = SyntheticLine(SyntheticLineSpec(seed=3, size_wh=(64, 48)))
    assert len(grabs) == 6
    for index, grab in enumerate(grabs):
        assert isinstance(grab, Frame) and grab.index == index
        assert (grab.image == line.frame_at(index).image).all()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr("edge_ad.source.synthetic.time", clock)
    return clock


def test_with_a_pace_it_is_live_and_keeps_time(clock: FakeClock) -> None:
    with open_source(SMALL + "fps=64&frames=26") as source:
        assert source.live
        grabs = iter(source)
        for index in range(25):
            grab = next(grabs)
            assert isinstance(grab, Frame)
            assert (grab.index, grab.captured_s) == (index, index / 64)
            clock.wait_for_sleeper()
            clock.advance(1 / 64)
        assert [grab.index for grab in grabs] == [25]
    assert source.dropped == 0


def test_a_slow_inspector_of_a_live_line_gets_fresh_frames_and_drops_others(
    clock: FakeClock,
) -> None:
    numbers = []
    with open_source(SMALL + "fps=128&frames=41") as source:
        for grab in source:
            numbers.append(grab.index)
            if grab.index < 40:
                for _ in range(5):  # frames that pass meanwhile: four too many
                    clock.wait_for_sleeper()
                    clock.advance(1 / 128)
                wait_until(lambda: source.dropped == len(numbers) * 4)
    assert source.dropped == 32 and numbers == list(range(0, 41, 5))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("black", "black"), ("white", "saturated"), ("torn", "torn"), ("freeze", "frozen")],
)
def test_the_frame_gate_detects_a_requested_fault(fault: str, reason: str) -> None:
    gate = FrameGate(live=True, frozen_after=3)
    grabs = grabs_of(f"fps=0&frames=16&faults={fault}@6-12")
    faults = [gate.fault(grab) for grab in grabs if isinstance(grab, Frame)]
    assert not any(faults[:6] + faults[13:])
    assert faults[12].startswith(reason)


def test_a_failed_grab_is_a_bad_frame_and_a_dropped_one_a_gap() -> None:
    grabs = grabs_of("fps=0&frames=6&faults=bad@2,drop@4")
    assert [grab.index for grab in grabs] == [0, 1, 2, 3, 5]
    assert [grab.index for grab in grabs if isinstance(grab, BadFrame)] == [2]


def test_a_stalled_line_times_out() -> None:
    with pytest.raises(SourceTimeout):
        grabs_of("fps=20&frames=60&faults=stall@2-20", timeout_s=0.4)


def test_a_short_stall_is_survived() -> None:
    assert grabs_of("fps=100&frames=20&faults=stall@5-10")[-1].index == 19


def test_a_lost_camera_is_reported_after_its_last_frame() -> None:
    numbers = []
    with (
        pytest.raises(SourceLost, match="the camera is lost at frame 3"),
        open_source(SMALL + "fps=0&faults=lost@3") as source,
    ):
        for grab in source:
            numbers.append(grab.index)
    assert numbers == [0, 1, 2]


def test_ranges_include_both_ends_and_later_items_win() -> None:
    assert parse_faults("black@1-3,torn@3") == {1: "black", 2: "black", 3: "torn"}
    assert parse_faults("") == {}
