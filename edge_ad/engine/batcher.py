"""One engine for several cameras: what they ask at about the same time is one call."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import USUAL_MOST, Engine, Prediction, check_batch
from edge_ad.frame import Image


class Batcher:
    """Puts the batches of several threads into one call of an engine and hands each its answer.

    Each camera asks through a `seat` of its own. Whoever finds the engine idle calls it for all who
    ask, after waiting for those who asked last: half as long as a call takes, for beyond that it
    costs more than it saves, and at most `patience_s`. Who stays away is not waited for until it
    asks again. A call takes as many images as the engine has room for, at most `USUAL_MOST` where
    it takes any number, and always one camera's batch as a whole.
    """

    def __init__(self, engine: Engine, *, patience_s: float = 0.02) -> None:
        self.engine = engine
        self._room = engine.manifest.batch or USUAL_MOST
        self._patience_s, self._call_s = patience_s, 0.0
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._expected: set[BatchClient] = set()
        self._busy = False

    def seat(self) -> BatchClient:
        """The engine as one camera sees it."""
        return BatchClient(self)

    def ask(self, seat: BatchClient, batch: Image) -> Prediction:
        """What the engine answers to one batch. Raises what the call it became part of raised."""
        request = _Request(seat, batch)
        with self._changed:
            self._waiting.append(request)
            self._expected.add(seat)
            self._changed.notify_all()
        while self._is_its_turn(request):
            try:
                self._call(self._gather())
            finally:
                self._let_the_next()
        if request.error is not None:
            raise request.error
        assert request.answer is not None
        return request.answer

    def _is_its_turn(self, request: _Request) -> bool:
        """Wait until the request is answered (false), or until it finds the engine idle (true)."""
        with self._changed:
            self._changed.wait_for(lambda: request.done or not self._busy)
            if not request.done:
                self._busy = True
            return not request.done

    def _let_the_next(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _gather(self) -> list[_Request]:
        """The requests of the next call, oldest first."""
        with self._changed:
            patience_s = min(self._patience_s, self._call_s / 2)
            self._changed.wait_for(self._is_gathered, patience_s)
            self._expected = {one.seat for one in self._waiting}
            together = [self._waiting.popleft()]
            room = self._room - len(together[0].batch)
            while self._waiting and len(self._waiting[0].batch) <= room:
                together.append(self._waiting.popleft())
                room -= len(together[-1].batch)
            return together

    def _is_gathered(self) -> bool:
        """Whether the next call is full, or all who are expected have asked."""
        images = sum(len(one.batch) for one in self._waiting)
        return images >= self._room or self._expected <= {one.seat for one in self._waiting}

    def _call(self, together: list[_Request]) -> None:
        batches = [one.batch for one in together]
        began = time.perf_counter()
        try:
            found = self.engine.infer(batches[0] if len(batches) == 1 else np.concatenate(batches))
        except BaseException as error:  # crosses over to every thread that waits for this call
            for one in together:
                one.error = error
            return
        self._call_s = time.perf_counter() - began
        ends = np.cumsum([len(batch) for batch in batches])
        for one, end in zip(together, ends, strict=True):
            mine = slice(end - len(one.batch), end)  # copied: the next call may reuse the arrays
            one.answer = Prediction(found.maps[mine].copy(), found.scores[mine].copy())


@dataclass(eq=False)
class _Request:
    """One batch on its way, and what became of it."""

    seat: BatchClient
    batch: Image
    answer: Prediction | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.error is not None


class BatchClient(ClosedAtExit):
    """One camera's place at a gathered engine: an Engine for one thread, whose arrays are its own.

    Closing it does nothing; the engine is closed by who opened it.
    """

    def __init__(self, gathered: Batcher) -> None:
        self._gathered = gathered
        self.name, self.manifest = gathered.engine.name, gathered.engine.manifest

    def infer(self, batch: Image) -> Prediction:
        check_batch(batch, self.manifest, self.name)  # a fault of one must not fail the others
        return self._gathered.ask(self, batch)

    def close(self) -> None:
        """Nothing is held."""
