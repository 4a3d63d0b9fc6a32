"""The thread between a device and the inspector: order, drops, errors, ends and time limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_ad.errors import SourceLost, SourceTimeout, UsageError
from edge_ad.frame import Frame, Grab
from edge_ad.source.buffered import READ_AHEAD, BufferedSource, Opener
from edge_ad.source.frame_queue import DropPolicy, FrameQueue

pytestmark = pytest.mark.timeout(20)


def frame(index: int) -> Frame:
    return Frame(np.zeros((2, 2, 3), np.uint8), index, time.monotonic(), "test")


def frames(count: int) -> Iterator[Grab]:
    yield from (frame(index) for index in range(count))


def buffered(
    opener: Opener, *, live: bool = False, hold: bool = False, limit_s: float = 15
) -> BufferedSource:
    return BufferedSource(
        "test", opener, live=live, hold=hold, timeout_s=limit_s, open_within_s=limit_s
    )


def wait_until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end_s, "the condition did not become true"
        time.sleep(0.002)


def test_a_file_loses_no_frame_to_a_slow_inspector() -> None:
    numbers = []
    with buffered(lambda: frames(20)) as source:
        for grab in source:
            time.sleep(0.002)
            numbers.append(grab.index)
    assert numbers == list(range(20)) and source.dropped == 0


def test_reading_runs_ahead_by_a_bounded_number_of_frames() -> None:
    read: list[int] = []

    def endless() -> Iterator[Grab]:
        while True:
            read.append(len(read))
            yield frame(len(read))

    with buffered(endless) as source:
        wait_until(lambda: len(read) == READ_AHEAD + 1)  # one more is held by the thread
        time.sleep(0.05)
        assert len(read) == READ_AHEAD + 1
        next(iter(source))
        wait_until(lambda: len(read) == READ_AHEAD + 2)


def test_a_camera_gives_its_newest_frame_and_counts_the_others() -> None:
    shown, grabbed = threading.Semaphore(0), threading.Semaphore(0)

    def camera() -> Iterator[Grab]:
        for index in range(6):
            shown.acquire()
            yield frame(index)
            grabbed.release()  # the next one is requested: this one is in the queue

    with buffered(camera, live=True) as source:
        grabs = iter(source)
        shown.release()
        assert next(grabs).index == 0
        for _ in range(4):
            shown.release()
            grabbed.acquire()
        wait_until(lambda: source.dropped == 3)
        assert next(grabs).index == 4
        shown.release()
        assert [grab.index for grab in grabs] == [5]
    assert source.dropped == 3


def test_frames_before_the_first_iteration_do_not_count_as_dropped() -> None:
    frames_in = FrameQueue("test", DropPolicy.NEWEST, capacity=1)
    for index in range(5):
        frames_in.put(frame(index))
    frames_in.counting = True
    grab = frames_in.get(1)
    assert grab is not None and grab.index == 4 and frames_in.dropped == 0


def test_a_held_source_starts_with_the_first_iteration() -> None:
    started = threading.Event()

    def camera() -> Iterator[Grab]:
        started.set()
        yield frame(0)

    with buffered(camera, live=True, hold=True) as source:
        time.sleep(0.05)
        assert not started.is_set()
        assert [grab.index for grab in source] == [0]


def test_an_error_is_raised_after_the_frames_before_it() -> None:
    def failing() -> Iterator[Grab]:
        yield from frames(2)
        raise OSError("cable")

    with buffered(failing) as source:
        grabs = iter(source)
        assert [next(grabs).index, next(grabs).index] == [0, 1]
        with pytest.raises(SourceLost, match="test: reading failed: OSError: cable") as caught:
            next(grabs)
    assert isinstance(caught.value.__cause__, OSError)


def test_an_error_of_edge_ad_is_raised_unchanged() -> None:
    def failing() -> Iterator[Grab]:
        yield frame(0)
        raise UsageError("wrong size")

    with buffered(failing) as source, pytest.raises(UsageError, match="wrong size"):
        list(source)


def test_an_error_while_opening_is_raised_at_once() -> None:
    def refuse() -> Iterator[Grab]:
        raise SourceLost("no such camera")

    with pytest.raises(SourceLost, match="no such camera"):
        buffered(refuse)


def test_a_device_that_never_opens_times_out() -> None:
    stuck = threading.Event()

    def never() -> Iterator[Grab]:
        stuck.wait(10)
        return frames(1)

    with pytest.raises(SourceTimeout, match=r"did not open within 0\.3 s"):
        buffered(never, limit_s=0.3)
    stuck.set()


def test_a_silent_camera_times_out_and_closes() -> None:
    stuck = threading.Event()

    def silent() -> Iterator[Grab]:
        stuck.wait(15)
        yield frame(0)

    source = BufferedSource("test", silent, live=True, timeout_s=0.3, open_within_s=15)
    with source, pytest.raises(SourceTimeout, match=r"no frame for 0\.3 s"):
        try:
            next(iter(source))
        finally:
            stuck.set()


def test_a_driver_that_never_returns_does_not_hold_up_closing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_ad.source.buffered.CLOSE_WITHIN_S", 0.1)
    stuck = threading.Event()

    def silent() -> Iterator[Grab]:
        stuck.wait(10)
        yield frame(0)

    start_s = time.monotonic()
    buffered(silent).close()
    assert time.monotonic() - start_s < 8
    assert "its thread is left running" in caplog.text
    stuck.set()


def test_closing_ends_the_thread_and_releases_the_device() -> None:
    released = threading.Event()

    def endless() -> Iterator[Grab]:
        try:
            while True:
                yield frame(0)
        finally:
            released.set()

    source = buffered(endless)
    next(iter(source))
    source.close()
    source.close()
    assert released.is_set()
    assert not any(thread.name == "grab test" for thread in threading.enumerate())


def test_closing_from_another_thread_ends_the_iteration() -> None:
    def slow() -> Iterator[Grab]:
        yield frame(0)
        time.sleep(0.1)
        yield frame(1)

    source = BufferedSource("test", slow, live=True, timeout_s=10, open_within_s=1)
    threading.Timer(0.05, source.close).start()
    start_s = time.monotonic()
    list(source)
    assert time.monotonic() - start_s < 5


def test_threads_that_hang_in_a_driver_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.source.buffered.CLOSE_WITHIN_S", 0.01)
    stuck, attempts = threading.Event(), 0

    def hanging() -> Iterator[Grab]:
        stuck.wait(10)
        yield frame(0)

    def attempt() -> BufferedSource:
        return BufferedSource("hanging", hanging, live=True, timeout_s=1, open_within_s=5)

    for _ in range(3):
        attempt().close()
    for _ in range(20):
        with pytest.raises(SourceTimeout, match="did not return from 3 attempts"):
            attempt()
        attempts += 1
    threads = [thread for thread in threading.enumerate() if thread.name == "grab hanging"]
    assert len(threads) == 3 and attempts == 20
    stuck.set()
    for thread in threads:
        thread.join(10)
    attempt().close()
