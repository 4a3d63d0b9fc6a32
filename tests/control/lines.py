"""A line on objects: scripted sources, a scripted engine, a store in a folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge_ad.control.line_control import LineControl
from edge_ad.engine import ScriptedEngine
from edge_ad.errors import SourceLost
from edge_ad.frame import Grab
from edge_ad.frame_gate import FrameGate
from edge_ad.line.alarm import Alarm, AlarmRule
from edge_ad.line.camera import Camera
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.rate_check import RateCheck
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.outlet.base import Outlets
from edge_ad.store.reading import EventFilter, read_events
from edge_ad.store.store import Store
from tests.line.memory import Memory
from tests.line.test_open import part_frame

LIMIT_S = 90.0


class Tap:
    """A source that delivers when a test asks for it: `.` a normal part, `R` one with a spot."""

    def __init__(self, name: str, *, live: bool = True) -> None:
        self.name, self.live, self.dropped = name, live, 0
        self.left_out: dict[str, str] = {}
        self._grabs: list[Grab] = []
        self._lost = self._closed = False
        self._changed = threading.Condition()
        self._index = self.under_way = 0

    def give(self, script: str) -> None:
        with self._changed:
            for letter in script:
                self._grabs.append(part_frame(self._index, spot=letter == "R"))
                self._index += 1
            self._changed.notify_all()

    def lose(self) -> None:
        with self._changed:
            self._lost = True
            self._changed.notify_all()

    def is_empty(self) -> bool:
        return not self._grabs

    def __iter__(self) -> Iterator[Grab]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._grabs or self._lost or self._closed)
                if self._closed:
                    return
                if not self._grabs:
                    self._lost = False
                    raise SourceLost(f"{self.name}: no frame.")
                grab = self._grabs.pop(0)
                self.under_way += 1
            yield grab

    def recorded(self, index: int) -> None:
        self.under_way -= 1

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RunningLine:
    """A line of cameras on taps, with control, store and memory; `with` starts and ends it."""

    def __init__(
        self, folder: Path, *names: str, live: bool = True, threshold: float = 0.5, rate: float = 0
    ) -> None:
        self.folder = folder
        self.memory = Memory()
        self.taps = {name: Tap(name, live=live) for name in names}
        cameras = [self._camera(name, threshold, rate) for name in names]
        self.line = Supervisor(cameras, Outlets([self.memory]))
        self.store = Store(folder)
        self.line.use_store(self.store)
        self.control = LineControl(self.line, self.store)
        self.settings = self.control.settings

    def _camera(self, name: str, threshold: float, rate: float) -> Camera:
        gate, thresholds = FrameGate(live=False), Thresholds(threshold, threshold)
        inspector = Inspector(ScriptedEngine(), thresholds, gate, camera=name)
        check = RateCheck(rate, threshold=threshold) if rate else None
        alarm = Alarm(AlarmRule(), lambda: f"{name}-{time.monotonic_ns()}", check)
        return Camera(self.taps[name], self._reopen(name), inspector, alarm, Tally(), name)

    def _reopen(self, name: str) -> Callable[[], Any]:
        def reopen() -> Tap:
            old = self.taps[name]
            if old.is_empty():
                raise SourceLost(f"{name} is away")
            self.taps[name] = Tap(name)
            self.taps[name].give("." * len(old._grabs))
            return self.taps[name]

        return reopen

    def __enter__(self) -> RunningLine:
        self.line.start()
        self.control.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self.line.finish()

    def judge(self, name: str, script: str) -> list[str]:
        """Deliver frames, wait until they are judged, and return their verdicts."""
        before, unjudged = len(self.verdicts(name)), self.taps[name].under_way
        self.taps[name].give(script)
        wait_for(lambda: len(self.verdicts(name)) >= before + len(script))
        # alarms follow their inspection; frames of a pause are never recorded
        wait_for(lambda: self.taps[name].under_way <= unjudged)
        return self.verdicts(name)[before:]

    def verdicts(self, name: str) -> list[str]:
        found = [i for i in self.memory.inspections if i.camera == name]
        return [inspection.verdict.value for inspection in found]

    def events(self, *types: str) -> list[dict[str, Any]]:
        return list(read_events(self.folder, EventFilter(types=types)))


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)
