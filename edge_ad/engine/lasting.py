"""Go on with an engine whose GPU failed: open it again, and judge the same images with it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import Engine, OverlappingEngine, Prediction
from edge_ad.errors import EdgeAdError, EngineLost
from edge_ad.frame import Image

_log = logging.getLogger(__name__)
_ATTEMPTS = 3  # to open it again after one failure
_PAUSE_S = 1.0  # the driver resets the GPU meanwhile
_STEADY_S = 600.0
_MOST_FAILURES = (
    3  # within the time above; what fails again and again needs more than to be opened again
)


class LastingEngine(ClosedAtExit):
    """An engine that is opened again when its GPU fails; no image is left without a prediction.

    Raises EngineLost when it cannot be opened again, when another engine is there by then, or when
    it fails a fourth time within ten minutes: CUDA then wants another process. `reopened` is called
    with the reason after each success.
    """

    def __init__(
        self,
        opener: Callable[[], Engine],
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opener, self._pause, self._clock = opener, pause, clock
        self._failed_s: deque[float] = deque(maxlen=_MOST_FAILURES + 1)
        self._engine = opener()
        self.name, self.manifest = self._engine.name, self._engine.manifest
        self.reopened: Callable[[str], None] = _ignore
        self.reopenings = 0

    def infer(self, batch: Image) -> Prediction:
        while True:
            try:
                return self._engine.infer(batch)
            except EngineLost as lost:
                self._open_again(lost)

    def close(self) -> None:
        self._engine.close()

    def _open_again(self, lost: EngineLost) -> None:
        """Replace the engine. Raises EngineLost when it fails too often or cannot be opened."""
        self._engine.close()
        self._failed_s.append(self._clock())
        if len(self._failed_s) > _MOST_FAILURES and self._clock() - self._failed_s[0] < _STEADY_S:
            raise EngineLost(f"{lost} It failed {len(self._failed_s)} times in ten minutes.")
        _log.error("%s Opening it again.", lost)
        for attempt in range(_ATTEMPTS):
            self._pause(_PAUSE_S * attempt)
            try:
                engine = self._opener()
            except EdgeAdError as error:
                problem = error
                continue
            if engine.manifest != self.manifest:
                engine.close()
                raise EngineLost(
                    f"{lost} Another engine is there by now, which the threshold and geometry in "
                    "use need not fit. Start the line again."
                )
            self._engine = engine
            self.reopenings += 1
            self.reopened(str(lost))
            return
        raise EngineLost(f"{lost} It cannot be opened again: {problem}") from lost


class LastingOverlappingEngine(LastingEngine):
    """The same for an engine that computes while its caller works.

    What was submitted and not collected is submitted again.
    """

    def __init__(
        self,
        opener: Callable[[], Engine],
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(opener, pause=pause, clock=clock)
        self._submitted: deque[Image] = deque()

    def submit(self, batch: Image) -> None:
        """Start inference; the array may be reused at once."""
        self._submitted.append(batch.copy())
        try:
            self._overlapping.submit(batch)
        except EngineLost as lost:
            self._submit_again(lost)

    def collect(self) -> Prediction:
        """Wait for the oldest submitted batch and return its prediction."""
        while True:
            try:
                prediction = self._overlapping.collect()
            except EngineLost as lost:
                self._submit_again(lost)
                continue
            self._submitted.popleft()
            return prediction

    @property
    def _overlapping(self) -> OverlappingEngine:
        assert isinstance(self._engine, OverlappingEngine)
        return self._engine

    def _submit_again(self, lost: EngineLost) -> None:
        while True:
            self._open_again(lost)
            try:
                for batch in self._submitted:
                    self._overlapping.submit(batch)
            except EngineLost as again:
                lost = again
                continue
            return


def _ignore(reason: str) -> None:
    """Do nothing."""
