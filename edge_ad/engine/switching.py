"""Run an ONNX file on the CPU with the threads that are fastest at the moment."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.engine.base import Prediction
from edge_ad.engine.onnxruntime import OnnxRuntimeEngine, open_session
from edge_ad.engine.options import EngineOptions
from edge_ad.engine.thread_choice import ThreadChoice
from edge_ad.engine.thread_variants import check_equal, map_variants, physical_cores
from edge_ad.errors import IncompatibleError
from edge_ad.frame import Image
from edge_ad.machine.memory import return_freed_memory

if TYPE_CHECKING:
    import onnxruntime as ort

_log = logging.getLogger(__name__)
_FIRST_AFTER_S = 5.0  # short runs need no review, and the start is for the first verdict
_CHECKED_WITHIN_S = 10.0


class SwitchingEngine(OnnxRuntimeEngine):
    """An ONNX file whose threads follow the load of the computer; outputs do not depend on them.

    It starts as ONNX Runtime is shipped. A session for each other setting lies beside it, over one
    copy of the weights; after five seconds their outputs are compared, and `ThreadChoice` says
    which one runs. Without room for a temporary copy of the weights it stays as it is. One thread
    at a time calls `infer`.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._sessions: list[ort.InferenceSession] = []
        self._choice: ThreadChoice | None = None
        self._checking: threading.Thread | None = None
        self._turn = threading.Lock()  # two runs at once would take twice the working memory
        self._check_after_s = time.monotonic() + _FIRST_AFTER_S
        with TemporaryDirectory(prefix="edge-ad-", ignore_cleanup_errors=True) as folder:
            self._graph = Path(folder) / "graph.onnx"
            super().__init__(path, options)
            self._map_variants(path, options)

    @property
    def reviews(self) -> int:
        """How often the settings were compared."""
        return self._choice.reviews if self._choice else 0

    @property
    def reviewing(self) -> bool:
        """Whether they are being compared."""
        return self._choice is not None and self._choice.reviewing

    def close(self) -> None:
        self._sessions, self._choice = [], None
        if self._checking is not None:  # the end of the process would abort it within the runtime
            self._checking.join(_CHECKED_WITHIN_S)
        super().close()

    def _open(self, path: Path, options: EngineOptions) -> ort.InferenceSession:
        if physical_cores() > 1:
            try:
                return open_session(path, options, self._graph)
            except IncompatibleError as error:  # perhaps there is no room for the copy
                _log.info("%s", error)
        return open_session(path, options)

    def _map_variants(self, path: Path, options: EngineOptions) -> None:
        """Go on with the sessions that share their weights, where there are any."""
        if not self._graph.exists():
            return
        batch = self._mixed_batch()
        expected = self._run(batch)
        del self.session  # before the others take memory
        return_freed_memory()
        try:
            sessions = map_variants(self._graph)
            self.session = sessions[0]
            if not all(map(np.array_equal, self._run(batch), expected)):
                raise ValueError("mapping the weights changes the outputs")
        except Exception as error:  # ONNX Runtime's errors share no base; the line runs without
            self._note_fixed(error)
            self.session = open_session(path, options)
            return
        self._sessions = sessions

    def _run(self, batch: Image) -> Prediction:
        choice = self._choice
        if choice is None:
            if self._sessions and time.monotonic() > self._check_after_s:
                self._check_after_s = float("inf")
                self._checking = threading.Thread(
                    target=self._check, name="engine threads", daemon=True
                )
                self._checking.start()
            with self._turn:
                return super()._run(batch)
        self.session = self._sessions[choice.next(len(batch))]
        began = time.perf_counter()
        prediction = super()._run(batch)
        choice.measured(len(batch), time.perf_counter() - began)
        return prediction

    def _check(self) -> None:
        """Allow the other settings if they change nothing."""
        sessions = self._sessions
        try:
            check_equal(sessions, self._mixed_batch(), self._turn)
        except Exception as error:
            self._note_fixed(error)
            return
        return_freed_memory()  # of the start, too
        if self._sessions:  # not closed meanwhile
            self._choice = ThreadChoice(len(sessions))

    def _note_fixed(self, error: Exception) -> None:
        _log.info("%s: its threads stay one per core: %s", self.name, error)

    def _mixed_batch(self) -> Image:
        """Return images of every grey level; importing `numpy.random` would cost 20 ms."""
        size = (self.manifest.batch or 1, *self.manifest.size_hw, 3)
        numbers = np.arange(np.prod(size), dtype=np.uint32) * np.uint32(2_654_435_761)
        return np.asarray(numbers >> 24, np.uint8).reshape(size)
