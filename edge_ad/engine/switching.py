"""Run an ONNX file on the CPU with the threads that are fastest at the moment."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.engine.base import Prediction
from edge_ad.engine.onnxruntime import OnnxRuntimeEngine
from edge_ad.engine.options import EngineOptions
from edge_ad.engine.thread_choice import ThreadChoice
from edge_ad.engine.thread_variants import open_variants, physical_cores
from edge_ad.frame import Image
from edge_ad.machine.memory import return_freed_memory

if TYPE_CHECKING:
    import onnxruntime as ort

_log = logging.getLogger(__name__)
_FIRST_AFTER_S = 5.0  # short runs need no review, and the start is for the first verdict


class SwitchingEngine(OnnxRuntimeEngine):
    """An ONNX file whose threads follow the load of the computer; outputs do not depend on them.

    It starts as ONNX Runtime is shipped. After five seconds further sessions are opened beside it,
    and `ThreadChoice` says which one runs. When they cannot be opened, it stays as it is. One
    thread at a time calls `infer`.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._sessions: list[ort.InferenceSession] = []
        self._choice: ThreadChoice | None = None
        self._opener: threading.Thread | None = None
        self._path, self._lock, self._closed = path, threading.Lock(), False
        self._switched = threading.Event()
        self._open_after_s = time.monotonic() + _FIRST_AFTER_S
        super().__init__(path, options)

    @property
    def reviews(self) -> int:
        """How often the settings were compared."""
        return self._choice.reviews if self._choice else 0

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._sessions, self._choice = [], None
        self._switched.set()
        super().close()

    def _run(self, batch: Image) -> Prediction:
        if self._choice is None:
            self._open_variants()
            return super()._run(batch)
        self._switched.set()
        self.session = self._sessions[self._choice.next(len(batch))]
        began = time.perf_counter()
        prediction = super()._run(batch)
        self._choice.measured(len(batch), time.perf_counter() - began)
        return prediction

    def _open_variants(self) -> None:
        """Open the other sessions in a thread, once, when it is time."""
        if self._opener is None and time.monotonic() > self._open_after_s and physical_cores() > 1:
            self._opener = threading.Thread(target=self._open, name="engine threads", daemon=True)
            self._opener.start()

    def _open(self) -> None:
        size = (self.manifest.batch or 1, *self.manifest.size_hw, 3)
        batch = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        try:
            sessions = open_variants(self._path, self.session, batch)
        except Exception as error:  # ONNX Runtime's errors share no base; the line runs without
            _log.info("%s: its threads stay one per core: %s", self.name, error)
            return
        with self._lock:
            if self._closed:
                return
            self.session = sessions[0]
            self._sessions, self._choice = sessions, ThreadChoice(len(sessions))
        self._switched.wait()  # then no call uses the first session any more
        return_freed_memory()
