"""A network fake by a function, on `FakeCuda`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_ad.engine.base import Prediction
from edge_ad.engine.tensorrt.cuda import CudaStream
from edge_ad.frame import Image
from tests.engine.tensorrt.fake_cuda import FakeCuda


class FakeProgram:
    """A network fake by a function of images; it reads and writes `FakeCuda`'s memory."""

    graph = ""

    def __init__(
        self,
        cuda: FakeCuda,
        answer: Callable[[Image], Prediction],
        *,
        size_hw: tuple[int, int] = (4, 4),
        batch: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        self.size_hw, self.batch = size_hw, batch
        self._cuda, self._answer = cuda, answer
        self._count = 0
        self._addresses = (0, 0, 0)
        self.closed = 0

    def resize(self, count: int) -> None:
        assert self.batch[0] <= count <= self.batch[2], f"{count} images are outside {self.batch}"
        self._count = count

    def bind(self, images: int, maps: int, scores: int) -> None:
        self._addresses = (images, maps, scores)

    def enqueue(self, stream: CudaStream) -> None:
        """Addresses and number are read now, memory when the work runs: as TensorRT does."""
        count, addresses = self._count, self._addresses
        self._cuda.execute(stream, "infer", lambda: self._run(count, *addresses))

    def warmed_up(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        self.closed += 1

    def _run(self, count: int, images: int, maps: int, scores: int) -> None:
        height, width = self.size_hw
        pixels = self._cuda.read(images, count * height * width * 3)
        found = self._answer(pixels.reshape(count, height, width, 3).copy())
        self._cuda.read(maps, found.maps.nbytes)[...] = found.maps.view(np.uint8).ravel()
        self._cuda.read(scores, found.scores.nbytes)[...] = found.scores.view(np.uint8).ravel()
