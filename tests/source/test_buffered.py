"""The thread between a device and the inspector: order, drops, errors, ends and time limits."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from edge_ad.errors import SourceLost, SourceTimeout, UsageError
from edge_ad.frame import Frame, Grab
from edge_ad.source.buffered import READ_AHEAD, BufferedSource, Opener
from edge_ad.source.frame_queue import DropPolicy, FrameQueue
from tests.timing import LIMIT_S, wait_until


def frame(index: int) -> Frame:
    return Frame(np.zeros((2, 2, 3), np.uint8), index, time.monotonic(), "test")


def frames(count: int) -> Iterator[Grab]:
    yield from (frame(index) for index in range(count))


def buffered(
    opener: Opener, *, live: bool = False, hold: bool = False, limit_s: float = LIMIT_S
) -> BufferedSource:
    return BufferedSource(
        "test", opener, live=live, hold=hold, timeout_s=limit_s, open_within_s=limit_s
    )


class Camera:
    """Yields `count` frames and records how far it runs ahead of the frames taken."""

    def __init__(self, count: int) -> None:
        self.count, self.read, self.taken, self.ahead = count, 0, 0, 0

    def __call__(self) -> Iterator[Grab]:
        for index in range(self.count):
            self.read = index + 1
            self.ahead = max(self.ahead, self.read - self.taken)
            yield frame(index)


def test_a_file_loses_no_frame_to_a_slow_inspector() -> None:
    numbers, camera = [], Camera(20)
    with buffered(camera) as source:
        for grab in source:
            numbers.append(grab.index)  # and go on when the reader can go no further
            wait_until(lambda: camera.read == min(20, len(numbers) + READ_AHEAD + 1))
    assert numbers == list(range(20)) and source.dropped == 0


def test_reading_runs_ahead_by_a_bounded_number_of_frames() -> None:
    camera = Camera(1000)
    with buffered(camera) as source:
        wait_until(lambda: camera.read == READ_AHEAD + 1)  # one more is held by the thread
        camera.taken = 1  # count each one before it is taken
        for grab in source:
            camera.taken = grab.index + 2
    assert camera.read == 1000 and camera.ahead <= READ_AHEAD + 1


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
    order = []

    def camera() -> Iterator[Grab]:
        order.append("grab")
        yield frame(0)

    with buffered(camera, live=True, hold=True) as source:
        order.append("iterate")
        assert [grab.index for grab in source] == [0]
    assert order == ["iterate", "grab"]


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


@pytest.mark.parametrize("opens", [True, False])
def test_what_a_lost_camera_was_read_with_is_freed_at_once(*, opens: bool) -> None:
    drivers: list[weakref.ref[Camera]] = []

    def camera() -> Iterator[Grab]:
        driver = Camera(1)
        drivers.append(weakref.ref(driver))
        if not opens:
            raise SourceLost("it does not open")
        return lost(driver)

    def lost(driver: Camera) -> Iterator[Grab]:
        yield from driver()
        raise SourceLost("it is gone")

    gc.disable()  # threads, memory and devices must not wait for it
    try:
        with contextlib.suppress(SourceLost), buffered(camera, live=True) as source:
            list(source)
        assert [driver() for driver in drivers] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize(("live", "advice"), [(True, "powered"), (False, "without a writer")])
def test_a_device_that_never_opens_times_out(*, live: bool, advice: str) -> None:
    stuck = threading.Event()

    def never() -> Iterator[Grab]:
        stuck.wait()
        return frames(1)

    with pytest.raises(SourceTimeout, match=rf"did not open within 0\.05 s\. .*{advice}"):
        buffered(never, live=live, limit_s=0.05)
    stuck.set()


def test_a_silent_camera_times_out_and_closes() -> None:
    stuck = threading.Event()

    def silent() -> Iterator[Grab]:
        stuck.wait()
        yield frame(0)

    source = BufferedSource("test", silent, live=True, timeout_s=0.05, open_within_s=LIMIT_S)
    with source, pytest.raises(SourceTimeout, match=r"no frame for 0\.05 s"):
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
        stuck.wait()
        yield frame(0)

    buffered(silent).close()
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
    closed = threading.Event()

    def endless() -> Iterator[Grab]:
        yield frame(0)
        closed.wait()
        yield frame(1)

    source = BufferedSource(
        "test", endless, live=True, timeout_s=None, open_within_s=LIMIT_S, closed=closed
    )
    numbers = []
    for grab in source:
        numbers.append(grab.index)
        closing = threading.Thread(target=source.close)
        closing.start()  # while the iteration waits for another frame, or is about to
    closing.join()
    assert numbers == [0]


def test_ctrl_c_while_a_camera_opens_releases_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    def interrupted(source: BufferedSource, limit_s: float) -> None:
        source._opened = Interrupting()
        wait(source, limit_s)

    def camera() -> Iterator[Grab]:
        try:
            for index in range(1000):
                yield frame(index)
            ended.append("ran on")
        finally:
            ended.append("released")

    def opener() -> Iterator[Grab]:
        assert may_open.wait(LIMIT_S)
        return camera()

    wait, may_open, ended = BufferedSource._wait_until_open, threading.Event(), list[str]()
    monkeypatch.setattr(BufferedSource, "_wait_until_open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        BufferedSource("interrupted", opener, live=True, timeout_s=1, open_within_s=LIMIT_S)
    may_open.set()
    for thread in threads_of("interrupted"):
        thread.join(LIMIT_S)
    assert ended == ["released"]


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"grab {name}"]


@pytest.mark.parametrize("opens", [True, False])
def test_threads_that_hang_in_a_driver_are_bounded(
    monkeypatch: pytest.MonkeyPatch, *, opens: bool
) -> None:
    monkeypatch.setattr("edge_ad.source.buffered.CLOSE_WITHIN_S", 0.01)
    stuck, attempts = threading.Event(), 0
    opened_s = LIMIT_S if opens else 0.01

    def hanging() -> Iterator[Grab]:
        stuck.wait()
        yield frame(0)

    def opener() -> Iterator[Grab]:
        if not opens:
            stuck.wait()
        return hanging()

    def attempt() -> BufferedSource:
        return BufferedSource("hanging", opener, live=True, timeout_s=1, open_within_s=opened_s)

    for _ in range(3):
        if opens:
            attempt().close()
        else:
            with pytest.raises(SourceTimeout, match="did not open within"):
                attempt()
    for _ in range(20):
        with pytest.raises(SourceTimeout, match="did not return from 3 attempts"):
            attempt()
        attempts += 1
    threads = threads_of("hanging")
    assert len(threads) == 3 and attempts == 20
    stuck.set()
    for thread in threads:
        thread.join(LIMIT_S)
    opened_s = LIMIT_S
    attempt().close()
