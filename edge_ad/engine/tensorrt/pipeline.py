"""Run images through a compiled network, with uploads and downloads beside the computation.

Each part of a batch uses one of two slots of page-locked buffers, and three streams:

    upload stream     copy images in     | event `uploaded`
    compute stream    wait `uploaded`    | network | event `inferred`
    download stream   wait `inferred`    | copy map and score out | event `downloaded`

So the upload of one part runs beside the network on the previous one. A slot is reused only after
its event `downloaded` was waited for, which makes the reuse safe.

An integrated GPU, as a Jetson's, shares memory with the host: it reads and writes the page-locked
buffers themselves, and both copies are left out.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_ad.engine.base import GpuTimes, Prediction
from edge_ad.engine.tensorrt.cuda import CaptureRefused, Cuda, CudaEvent, CudaGraph, CudaStream
from edge_ad.frame import Image

SLOTS = 2

_log = logging.getLogger(__name__)


class Program(Protocol):
    """A compiled network. `batch` is (minimum, optimum, maximum) images of `size_hw` a launch.

    `graph` is empty unless the program replays its launches by itself; then it describes how.
    """

    size_hw: tuple[int, int]
    batch: tuple[int, int, int]
    graph: str

    def resize(self, count: int) -> None:
        """Set the number of images of the next launches."""

    def bind(self, images: int, maps: int, scores: int) -> None:
        """Set the addresses that the next launches read and write."""

    def enqueue(self, stream: CudaStream) -> None:
        """Queue one launch. Raises CudaError."""

    def warmed_up(self) -> None:
        """Note that the first launches are done; called once."""

    def close(self) -> None:
        """Free the program's resources."""


class Pipeline:
    """Runs a program on a GPU, for one thread at a time.

    `graph` describes how launches are made: replayed, or the reason why not.
    """

    def __init__(self, cuda: Cuda, program: Program, *, graphs: bool = True) -> None:
        self._cuda, self._program = cuda, program
        self._upload, self._compute, self._download = (cuda.stream() for _ in range(3))
        self._free = deque(_Slot(cuda, program) for _ in range(SLOTS))
        self._busy: deque[_Slot] = deque()
        self._jobs: deque[_Job] = deque()
        self._count = 0
        self._replays = graphs and not program.graph
        self.graph = (program.graph or "not yet captured") if graphs else "not asked for"
        self.gpu_times = GpuTimes(0.0, 0.0, 0.0)

    @property
    def pending(self) -> int:
        """Count the batches submitted and not yet collected."""
        return len(self._jobs)

    def warm_up(self) -> None:
        """Run every slot until its launches are captured, if they can be."""
        images = np.zeros((self._program.batch[1], *self._program.size_hw, 3), np.uint8)
        for _ in range(3 * SLOTS):  # per slot: once plain, once captured, once replayed
            self.submit(images)
            self.collect()

    def submit(self, batch: Image) -> None:
        """Start on uint8 (n, H, W, 3) images and return; the array may be reused at once.

        If all slots are in use, wait for the oldest part first.
        """
        job = _Job(len(batch), self._program.size_hw)
        largest = self._program.batch[2]
        for first in range(0, len(batch), largest):
            if not self._free:
                self._finish_oldest()
            self._start(batch[first : first + largest], job)
        self._jobs.append(job)

    def collect(self) -> Prediction:
        """Wait for the oldest submitted batch and return its prediction, the caller's to keep."""
        job = self._jobs.popleft()
        while job.remaining:
            self._finish_oldest()
        return Prediction(job.maps, job.scores)

    def close(self) -> None:
        """Free the graphs and drop the batches in flight; buffers are freed with the GPU."""
        for slot in (*self._free, *self._busy):
            slot.forget_graph()
        self._jobs.clear()

    def _start(self, part: Image, job: _Job) -> None:
        slot = self._free.popleft()
        self._busy.append(slot)
        count = slot.load(part, job, minimum=self._program.batch[0])
        self._resize(count)
        slot.begun.record(self._upload)
        if not slot.is_mapped:
            self._cuda.upload(slot.images_at, slot.images[:count], self._upload)
        slot.uploaded.record(self._upload)
        self._compute.wait(slot.uploaded)
        slot.started.record(self._compute)
        self._launch(slot)
        slot.inferred.record(self._compute)
        self._download.wait(slot.inferred)
        if not slot.is_mapped:
            self._cuda.download(slot.maps[:count], slot.maps_at, self._download)
            self._cuda.download(slot.scores[:count], slot.scores_at, self._download)
        slot.downloaded.record(self._download)

    def _finish_oldest(self) -> None:
        """Wait for the oldest part and copy its results to its job."""
        slot = self._busy.popleft()
        slot.downloaded.synchronize()
        self.gpu_times = slot.gpu_times()
        slot.deliver()
        self._free.append(slot)

    def _resize(self, count: int) -> None:
        """Change the number of images a launch; a graph is valid only for one number."""
        if count == self._count:
            return
        self._compute.synchronize()
        self._program.resize(count)
        self._count = count
        for slot in (*self._free, *self._busy):
            slot.forget_graph()

    def _launch(self, slot: _Slot) -> None:
        """Replay the slot's graph, captured at the second launch, after TensorRT's own setup."""
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
        except CaptureRefused as reason:
            self._replays = False
            self.graph = f"not replayed: {reason}"
            _log.info("launching without CUDA graph: %s", reason)


class _Job:
    """The results of one submitted batch, filled part by part."""

    def __init__(self, count: int, size_hw: tuple[int, int]) -> None:
        self.maps: NDArray[np.float32] = np.empty((count, *size_hw), np.float32)
        self.scores: NDArray[np.float32] = np.empty(count, np.float32)
        self.remaining = count

    def fill(self, maps: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        first = len(self.scores) - self.remaining
        self.maps[first : first + len(maps)] = maps
        self.scores[first : first + len(maps)] = scores
        self.remaining -= len(maps)


class _Slot:
    """Host and GPU buffers for one launch, and the events of its progress."""

    def __init__(self, cuda: Cuda, program: Program) -> None:
        largest, (height, width) = program.batch[2], program.size_hw
        self.images: Image = cuda.pinned((largest, height, width, 3), np.uint8)
        self.maps: NDArray[np.float32] = cuda.pinned((largest, height, width), np.float32)
        self.scores: NDArray[np.float32] = cuda.pinned((largest,), np.float32)
        self.is_mapped = cuda.mapped(self.images) is not None
        self.images_at, self.maps_at, self.scores_at = (
            cuda.mapped(array) or cuda.memory(array.nbytes)
            for array in (self.images, self.maps, self.scores)
        )
        self.begun, self.uploaded, self.started = _events(cuda, 3)
        self.inferred, self.downloaded = _events(cuda, 2)
        self.graph: CudaGraph | None = None
        self.has_run = False
        self._job: _Job | None = None
        self._count = 0

    def load(self, part: Image, job: _Job, *, minimum: int) -> int:
        """Copy images in and return the number to launch.

        Below `minimum`, the launch includes older images of the slot; their results are dropped.
        """
        self.images[: len(part)] = part
        self._job, self._count = job, len(part)
        return max(len(part), minimum)

    def deliver(self) -> None:
        """Copy the results to the job."""
        assert self._job is not None
        self._job.fill(self.maps[: self._count], self.scores[: self._count])
        self._job = None

    def gpu_times(self) -> GpuTimes:
        """Return the times of the last launch, which must have ended."""
        return GpuTimes(
            upload_ms=self.uploaded.ms_since(self.begun),
            compute_ms=self.inferred.ms_since(self.started),
            download_ms=self.downloaded.ms_since(self.inferred),
        )

    def forget_graph(self) -> None:
        if self.graph is not None:
            self.graph.close()
        self.graph, self.has_run = None, False


def _events(cuda: Cuda, count: int) -> list[CudaEvent]:
    return [cuda.event() for _ in range(count)]
