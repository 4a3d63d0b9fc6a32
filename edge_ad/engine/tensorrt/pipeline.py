"""Images through a compiled network: page-locked buffers in rotation, three streams, one order.

For every part of a batch, on one of two slots of buffers:

    upload stream     copy images in     | mark `uploaded`
    compute stream    wait `uploaded`    | network | mark `inferred`
    answer stream     wait `inferred`    | copy map and score out | mark `answered`

So the upload of one part runs beside the network on the one before, and a slot is used again only
after its `answered` was waited for, which is what makes its reuse safe.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_ad.engine.base import Prediction
from edge_ad.engine.tensorrt.cuda import CaptureRefused, Cuda, CudaEvent, CudaGraph, CudaStream
from edge_ad.frame import Image

SLOTS = 2

_log = logging.getLogger(__name__)


class Program(Protocol):
    """A compiled network. `batch` is (least, usual, most) images of `size_hw` a launch.

    `graph` is empty, or says that and how the program replays its launches by itself.
    """

    size_hw: tuple[int, int]
    batch: tuple[int, int, int]
    graph: str

    def resize(self, count: int) -> None:
        """The next launches take `count` images."""

    def bind(self, images: int, maps: int, scores: int) -> None:
        """The next launches read and write at these addresses."""

    def enqueue(self, stream: CudaStream) -> None:
        """Queue one launch. Raises CudaFailed."""

    def warmed_up(self) -> None:
        """Called once, after the first launches."""

    def close(self) -> None:
        """Free what the program holds."""


class Pipeline:
    """Runs a program on a card. Not for two threads at once.

    `graph` says how launches are made: replayed, or why not.
    """

    def __init__(self, cuda: Cuda, program: Program, *, graphs: bool = True) -> None:
        self._cuda, self._program = cuda, program
        self._upload, self._compute, self._answer = (cuda.stream() for _ in range(3))
        self._free = deque(_Slot(cuda, program) for _ in range(SLOTS))
        self._busy: deque[_Slot] = deque()
        self._orders: deque[_Order] = deque()
        self._count = 0
        self._replays = graphs and not program.graph
        self.graph = (program.graph or "not yet captured") if graphs else "not asked for"
        self.gpu_ms = 0.0

    @property
    def pending(self) -> int:
        """Batches submitted and not yet collected."""
        return len(self._orders)

    def warm_up(self) -> None:
        """Run every slot until its launch is in the state it keeps."""
        images = np.zeros((self._program.batch[1], *self._program.size_hw, 3), np.uint8)
        for _ in range(3 * SLOTS):  # per slot: once plain, once captured, once replayed
            self.submit(images)
            self.collect()

    def submit(self, batch: Image) -> None:
        """Start on uint8 (n, H, W, 3) images and return; the array may be reused at once.

        With all slots in use, it waits for the oldest part first.
        """
        order = _Order(len(batch), self._program.size_hw)
        most = self._program.batch[2]
        for first in range(0, len(batch), most):
            if not self._free:
                self._drain()
            self._start(batch[first : first + most], order)
        self._orders.append(order)

    def collect(self) -> Prediction:
        """Wait for the oldest batch submitted; the arrays are the caller's."""
        order = self._orders.popleft()
        while order.missing:
            self._drain()
        return Prediction(order.maps, order.scores)

    def close(self) -> None:
        """Free the graphs and forget what is under way; buffers are the card's to free."""
        for slot in (*self._free, *self._busy):
            slot.forget_graph()
        self._orders.clear()

    def _start(self, part: Image, order: _Order) -> None:
        slot = self._free.popleft()
        self._busy.append(slot)
        count = slot.load(part, order, least=self._program.batch[0])
        self._resize(count)
        self._cuda.upload(slot.images_at, slot.images[:count], self._upload)
        slot.uploaded.record(self._upload)
        self._compute.wait(slot.uploaded)
        slot.started.record(self._compute)
        self._launch(slot)
        slot.inferred.record(self._compute)
        self._answer.wait(slot.inferred)
        self._cuda.download(slot.maps[:count], slot.maps_at, self._answer)
        self._cuda.download(slot.scores[:count], slot.scores_at, self._answer)
        slot.answered.record(self._answer)

    def _drain(self) -> None:
        """Wait for the oldest part and hand its answers to its order."""
        slot = self._busy.popleft()
        slot.answered.synchronize()
        self.gpu_ms = slot.inferred.ms_since(slot.started)
        slot.deliver()
        self._free.append(slot)

    def _resize(self, count: int) -> None:
        """A graph holds for the number of images it was captured with."""
        if count == self._count:
            return
        self._compute.synchronize()
        self._program.resize(count)
        self._count = count
        for slot in (*self._free, *self._busy):
            slot.forget_graph()

    def _launch(self, slot: _Slot) -> None:
        """Replay the slot's graph; capture it at its second launch, when TensorRT has settled."""
        if slot.graph is None:
            self._program.bind(slot.images_at, slot.maps_at, slot.scores_at)
            if self._replays and slot.has_run:
                self._capture(slot)
        if slot.graph is not None:
            slot.graph.launch(self._compute)
        else:
            self._program.enqueue(self._compute)
        slot.has_run = True

    def _capture(self, slot: _Slot) -> None:
        try:
            slot.graph = self._cuda.capture(
                self._compute, lambda: self._program.enqueue(self._compute)
            )
            self.graph = "replayed"
        except CaptureRefused as refused:
            self._replays = False
            self.graph = f"not replayed: {refused}"
            _log.info("launching without CUDA graph: %s", refused)


class _Order:
    """Answers of one submitted batch, filled part by part."""

    def __init__(self, count: int, size_hw: tuple[int, int]) -> None:
        self.maps: NDArray[np.float32] = np.empty((count, *size_hw), np.float32)
        self.scores: NDArray[np.float32] = np.empty(count, np.float32)
        self.missing = count

    def fill(self, maps: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        first = len(self.scores) - self.missing
        self.maps[first : first + len(maps)] = maps
        self.scores[first : first + len(maps)] = scores
        self.missing -= len(maps)


class _Slot:
    """Buffers for one launch, on both sides, and the marks that say how far it has come."""

    def __init__(self, cuda: Cuda, program: Program) -> None:
        most, (height, width) = program.batch[2], program.size_hw
        self.images: Image = cuda.pinned((most, height, width, 3), np.uint8)
        self.maps: NDArray[np.float32] = cuda.pinned((most, height, width), np.float32)
        self.scores: NDArray[np.float32] = cuda.pinned((most,), np.float32)
        self.images_at = cuda.memory(self.images.nbytes)
        self.maps_at = cuda.memory(self.maps.nbytes)
        self.scores_at = cuda.memory(self.scores.nbytes)
        self.uploaded, self.started, self.inferred, self.answered = _events(cuda, 4)
        self.graph: CudaGraph | None = None
        self.has_run = False
        self._order: _Order | None = None
        self._kept = 0

    def load(self, part: Image, order: _Order, *, least: int) -> int:
        """Copy images in; how many to launch. Older ones lie beyond, their answers are dropped."""
        self.images[: len(part)] = part
        self._order, self._kept = order, len(part)
        return max(len(part), least)

    def deliver(self) -> None:
        assert self._order is not None
        self._order.fill(self.maps[: self._kept], self.scores[: self._kept])
        self._order = None

    def forget_graph(self) -> None:
        if self.graph is not None:
            self.graph.close()
        self.graph, self.has_run = None, False


def _events(cuda: Cuda, count: int) -> list[CudaEvent]:
    return [cuda.event() for _ in range(count)]
