"""Share one engine among several cameras: requests that arrive together become one call."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import DEFAULT_MAX_BATCH, Engine, Prediction, check_batch
from edge_ad.frame import Image


class Batcher:
    """Merges the batches of several threads into one call of an engine and splits the result.

    Each camera calls `infer` of its own `client`. The thread that finds the engine idle calls it
    for all pending requests, after waiting for the clients of the previous call: half as long as a
    call takes, since beyond that waiting costs more than it saves, and at most `patience_s`. A
    client that misses a call is not waited for until its next request. A call takes as many images
    as the engine's batch, at most `DEFAULT_MAX_BATCH` if the engine takes any number, and always
    the whole batch of a client.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        patience_s: float = 0.02,
        condition: threading.Condition | None = None,
    ) -> None:
        """Serve `engine`; tests give a `condition` to control the waiting."""
        self.engine = engine
        self._capacity = engine.manifest.batch or DEFAULT_MAX_BATCH
        self._patience_s, self._call_s = patience_s, 0.0
        self._changed = condition or threading.Condition()
        self._pending: deque[_Request] = deque()
        self._expected: set[BatchClient] = set()
        self._busy = False

    def client(self) -> BatchClient:
        """Return a new client: the engine as one camera calls it."""
        return BatchClient(self)

    def infer(self, client: BatchClient, batch: Image) -> Prediction:
        """Return the prediction for one batch. Raises what the call it was part of raised."""
        request = _Request(client, batch)
        with self._changed:
            self._pending.append(request)
            self._expected.add(client)
            self._changed.notify_all()
        while self._acquire_engine(request):
            try:
                self._call(self._next_requests())
            finally:
                self._release_engine()
        if request.error is not None:
            raise request.error
        assert request.prediction is not None
        return request.prediction

    def _acquire_engine(self, request: _Request) -> bool:
        """Wait until the request is done (return False) or the engine is idle (return True)."""
        with self._changed:
            self._changed.wait_for(lambda: request.done or not self._busy)
            if not request.done:
                self._busy = True
            return not request.done

    def _release_engine(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _next_requests(self) -> list[_Request]:
        """Remove and return the requests of the next call, oldest first."""
        with self._changed:
            patience_s = min(self._patience_s, self._call_s / 2)
            self._changed.wait_for(self._is_complete, patience_s)
            self._expected = {request.client for request in self._pending}
            requests = [self._pending.popleft()]
            room = self._capacity - len(requests[0].batch)
            while self._pending and len(self._pending[0].batch) <= room:
                requests.append(self._pending.popleft())
                room -= len(requests[-1].batch)
            return requests

    def _is_complete(self) -> bool:
        """Return whether the next call is full, or every expected client has a request."""
        images = sum(len(request.batch) for request in self._pending)
        clients = {request.client for request in self._pending}
        return images >= self._capacity or self._expected <= clients

    def _call(self, requests: list[_Request]) -> None:
        batches = [request.batch for request in requests]
        began = time.perf_counter()
        try:
            batch = batches[0] if len(batches) == 1 else np.concatenate(batches)
            prediction = self.engine.infer(batch)
        except BaseException as error:  # handed to every thread that waits for this call
            for request in requests:
                request.error = error
            return
        self._call_s = time.perf_counter() - began
        _split(prediction, requests)


def _split(prediction: Prediction, requests: list[_Request]) -> None:
    """Give every request its part, copied because the next call may reuse the arrays."""
    ends = np.cumsum([len(request.batch) for request in requests])
    for request, end in zip(requests, ends, strict=True):
        part = slice(end - len(request.batch), end)
        request.prediction = Prediction(
            prediction.maps[part].copy(), prediction.scores[part].copy()
        )


@dataclass(eq=False)
class _Request:
    """One batch of one client, and its result."""

    client: BatchClient
    batch: Image
    prediction: Prediction | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.prediction is not None or self.error is not None


class BatchClient(ClosedAtExit):
    """One camera's access to a shared engine: an Engine for one thread, with its own arrays.

    Closing it does nothing; the engine is closed by its owner.
    """

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self.name, self.manifest = batcher.engine.name, batcher.engine.manifest

    def infer(self, batch: Image) -> Prediction:
        check_batch(batch, self.manifest, self.name)  # one client's error must not fail the others
        return self._batcher.infer(self, batch)

    def close(self) -> None:
        """Do nothing: the engine belongs to its owner."""
