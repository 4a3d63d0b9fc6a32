"""Choose between settings of an engine's threads by what calls take while the line runs.

Which setting is fastest depends on what else the computer does: one thread per core that spins is
best alone, and slows down most when another process wants a core. So the settings are compared by
their own times, in reviews: all settings in turn, a few calls each. A review is due when the
computer's load or the calls' time has changed, and otherwise now and then. Reviews have a budget,
since their calls are slower ones: one in 12 000 calls, so that at most 0.4 % of the calls try
another setting and the 99th percentile remains that of the chosen one.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from edge_ad.machine.other_work import OtherWork
from edge_ad.quantiles import median, quantiles

ROUNDS, BLOCK = 4, 6  # of a review
_SETTLING = 2  # calls at the beginning of a block, not counted: threads wake and find their cores
CALLS_PER_REVIEW = 12_000
_MOST_SAVED = 2.0  # reviews: one in reserve for a change
_MARGIN = 0.03  # by which another setting must be faster
_FAR_SLOWER = 1.25
_LOOK_EVERY_S = 3.0
_RECENT = 15  # calls whose median is compared with that after the review
_LOAD_CHANGE = 0.3  # cores
_TIME_CHANGE = 1.25


class ThreadChoice:
    """Says with which setting, 0 to `count` - 1, to make the next call.

    Calls are compared with others of their batch's length only. `current` is the setting chosen,
    at first 0; `reviews` counts.
    """

    def __init__(
        self,
        count: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        other_cores: Callable[[], float] | None = None,
    ) -> None:
        self.current = self.reviews = 0
        self._count = count
        self._clock, self._other_cores = clock, other_cores or OtherWork().cores_since_last
        self._saved = _MOST_SAVED
        self._look_s = clock() + _LOOK_EVERY_S
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._reference_s: float | None = None
        self._load: float | None = None  # None: not reviewed yet
        self._changed = False
        self._review: _Review | None = None

    @property
    def reviewing(self) -> bool:
        """Whether settings are tried in turn."""
        return self._review is not None

    def next(self, length: int) -> int:
        """Return the setting for a call with a batch of this length."""
        if self._review is not None and self._review.length == length:
            return self._review.setting
        return self.current

    def measured(self, length: int, seconds: float) -> None:
        """Note what the call took that `next` was asked for."""
        if self._review is not None:
            if self._review.length == length and self._review.measured(seconds):
                self._decide(self._review)
            return
        self._saved = min(self._saved + 1 / CALLS_PER_REVIEW, _MOST_SAVED)
        self._recent.append(seconds / length)
        if len(self._recent) == _RECENT and self._reference_s is None:
            self._reference_s = median(self._recent)
        if self._clock() >= self._look_s:
            self._look_s = self._clock() + _LOOK_EVERY_S
            if self._is_due():
                self._saved -= 1
                self._review = _Review(self._count, length, self.current)

    def _is_due(self) -> bool:
        """Return whether to review: at first, after a change that lasts, or with full savings."""
        load = self._other_cores()
        if self._load is None:
            self._load = load
            return True
        changed, self._changed = self._changed, self._has_changed(load)
        if (changed and self._changed and self._saved >= 1) or self._saved >= _MOST_SAVED:
            self._load = load
            return True
        return False

    def _has_changed(self, load: float) -> bool:
        if self._load is not None and abs(load - self._load) > _LOAD_CHANGE:
            return True
        if self._reference_s is None or len(self._recent) < _RECENT:
            return False
        ratio = median(self._recent) / self._reference_s
        return not 1 / _TIME_CHANGE < ratio < _TIME_CHANGE

    def _decide(self, review: _Review) -> None:
        self.reviews += 1
        costs = review.costs()
        best = costs.index(min(costs))
        if costs[best] < (1 - _MARGIN) * costs[self.current]:
            self.current = best
        self._review, self._reference_s, self._changed = None, None, False
        self._recent.clear()


class _Review:
    """Times of all settings in turn, beginning with the current one.

    A setting whose fastest call in a round is far slower than the best one's typical call is not
    tried again: on an idle computer most of a review's cost would be that of a single thread.
    """

    def __init__(self, count: int, length: int, current: int) -> None:
        self.length = length
        self._current = current
        self._order = [(current + step) % count for step in range(count)]
        self._calls: deque[int] = deque()
        self._rounds = 0
        self._times: list[list[float]] = [[] for _ in range(count)]
        self._begin_round()

    @property
    def setting(self) -> int:
        """The setting of the next call."""
        return self._calls[0]

    def measured(self, seconds: float) -> bool:
        """Note the time of a call, and return whether it was the last."""
        setting = self._calls.popleft()
        if len(self._calls) % BLOCK < BLOCK - _SETTLING:
            self._times[setting].append(seconds)
        if self._calls:
            return False
        self._drop_slow()
        self._begin_round()
        return self._rounds > ROUNDS or len(self._order) == 1

    def costs(self) -> list[float]:
        """Return a cost for each setting: between median and 80th percentile, as tails count.

        Infinite for one that was not tried to the end.
        """
        return [
            sum(quantiles(times, (0.5, 0.8))) / 2 if setting in self._order else math.inf
            for setting, times in enumerate(self._times)
        ]

    def _begin_round(self) -> None:
        self._rounds += 1
        self._calls.extend(setting for setting in self._order for _ in range(BLOCK))

    def _drop_slow(self) -> None:
        counted = BLOCK - _SETTLING
        fresh = {setting: self._times[setting][-counted:] for setting in self._order}
        limit = _FAR_SLOWER * min(median(times) for times in fresh.values())
        self._order = [
            setting
            for setting, times in fresh.items()
            if setting == self._current or min(times) <= limit
        ]
