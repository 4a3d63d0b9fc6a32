"""A second thread, begun while the first is where only one may be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tests.timing import LIMIT_S

T = TypeVar("T")
_HEAD_START_S = 0.1  # without a lock, the second call ends within it; with one, it waits


class Beside(Generic[T]):
    """Stands where the first call may be slow, and there begins `call` in a second thread.

    Only the first time: the second call may pass here, too. A call that no lock keeps waiting ends
    before the first one goes on.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._thread: threading.Thread | None = None
        self._results: list[T] = []

    def __call__(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
            self._thread.join(_HEAD_START_S)

    @property
    def is_begun(self) -> bool:
        """Whether the second call has begun."""
        return self._thread is not None

    def result(self) -> T:
        """Wait for the second call and return what it did."""
        assert self._thread is not None, "the first call has not been there"
        self._thread.join(LIMIT_S)
        assert self._results, "the second call has failed, or waits for ever"
        return self._results[0]

    def _run(self) -> None:
        self._results.append(self._call())
