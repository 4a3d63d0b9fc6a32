"""Run an ONNX file on the CPU with the threads that are fastest at the moment."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.engine.base import Prediction
from edge_ad.engine.graph_cache import GraphCache, cache_of, folder_for_graph, is_whole
from edge_ad.engine.onnxruntime import OnnxRuntimeEngine, open_session
from edge_ad.engine.options import EngineOptions
from edge_ad.engine.thread_choice import ThreadChoice
from edge_ad.engine.thread_variants import GRAPH, check_equal, map_variants, physical_cores
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
    which one runs. Without room for a copy of the weights it stays as it is. The optimised graph
    is kept for the next start. One thread at a time calls `infer`.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._sessions: list[ort.InferenceSession] = []
        self._choice: ThreadChoice | None = None
        self._checking: threading.Thread | None = None
        self._turn = threading.Lock()  # two runs at once would take twice the working memory
        self._check_after_s = time.monotonic() + _FIRST_AFTER_S
        self._graph: Path | None = None  # where the optimised graph is to be written
        cache = cache_of(path) if physical_cores() > 1 else None
        self.file_sha256 = cache.onnx_sha256 if cache else None
        if not (cache and self._open_kept(cache, path, options)):
            self._open_file(cache, path, options)

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
            _join(self._checking, time.monotonic() + _CHECKED_WITHIN_S)
        super().close()

    def _open_kept(self, cache: GraphCache, path: Path, options: EngineOptions) -> bool:
        """Open the graph that an earlier start has optimised; return whether that went well."""
        kept = cache.graph()
        if kept is None:
            return False
        try:
            self._sessions = map_variants(kept.path)
            super().__init__(path, options)
            if kept.answers(self._run(self._mixed_batch())):
                return True
            _log.info("%s answers otherwise than when it was written", kept.path)
        except Exception as error:  # ONNX Runtime's errors share no base; the file itself is left
            _log.info("%s cannot be used: %s", kept.path, error)
        self._sessions = []
        cache.remove()
        return False

    def _open_file(self, cache: GraphCache | None, path: Path, options: EngineOptions) -> None:
        """Open the file, and keep its optimised graph where it could be mapped."""
        with folder_for_graph(cache) as folder:
            self._graph = folder / GRAPH if physical_cores() > 1 else None
            super().__init__(path, options)
            answer = self._map_variants(self._graph, path, options)
            if cache and answer and is_whole(path):
                cache.keep(folder, answer)

    def _open(self, path: Path, options: EngineOptions) -> ort.InferenceSession:
        if self._sessions:
            return self._sessions[0]
        if self._graph is not None:
            try:
                return open_session(path, options, self._graph)
            except IncompatibleError as error:  # perhaps there is no room for the copy
                _log.info("%s", error)
        return open_session(path, options)

    def _map_variants(
        self, graph: Path | None, path: Path, options: EngineOptions
    ) -> Prediction | None:
        """Go on with the sessions that share their weights; return what they answer to a batch."""
        if graph is None or not graph.exists():
            return None
        batch = self._mixed_batch()
        expected = self._run(batch)
        del self.session  # before the others take memory
        return_freed_memory()
        try:
            sessions = map_variants(graph)
            self.session = sessions[0]
            if not all(map(np.array_equal, self._run(batch), expected)):
                raise ValueError("mapping the weights changes the outputs")
        except Exception as error:  # as above; the line runs without
            self._note_fixed(error)
            self.session = open_session(path, options)
            return None
        self._sessions = sessions
        return expected

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


def _join(thread: threading.Thread, until_s: float) -> None:
    """Wait for a thread, also when Ctrl-C is pressed again meanwhile; that is raised after it."""
    try:
        thread.join(max(0.0, until_s - time.monotonic()))
    except KeyboardInterrupt:
        _join(thread, until_s)
        raise
