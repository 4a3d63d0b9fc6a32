"""Write images in a thread of their own, so that the line never waits for a disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")
_WAIT_S = 5.0  # of a file for room in the queue


class ImageWriter(Generic[Job]):
    """Gives each job to `write`, in order; at most `queued` wait, and more are not taken.

    An error of `write` is kept for `raise_late_error`; the jobs after it are written.
    """

    def __init__(self, name: str, queued: int, write: Callable[[Job], object]) -> None:
        self._queued, self._write = queued, write
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether a job would not be taken now."""
        return len(self._jobs) >= self._queued

    def put(self, job: Job) -> bool:
        """Return whether the job was taken: not when the queue is full."""
        with self._changed:
            if self.is_full:
                return False
            self._jobs.append(job)
            self._changed.notify_all()
            return True

    def wait_for_room(self) -> None:
        """Wait until half of the queue is free, 5 s at most."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._jobs) <= self._queued // 2, _WAIT_S)

    def raise_late_error(self) -> None:
        """Raise the error of an earlier job as OSError, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Return when all jobs are written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._write(job)
            except OSError as error:
                self._error = error
            except Exception as error:  # of one image; the next ones must be written
                self._error = OSError(f"{type(error).__name__}: {error}")

    def _next(self) -> Job | None:
        """Wait for the next job; return None after the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            job = self._jobs.popleft() if self._jobs else None
            self._changed.notify_all()
            return job
