"""Batches of damaged tiles. Each depends on seed and step alone, so training can resume."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.frame import Image
from edge_ad.methods.learning.batch import Batch
from edge_ad.synthesis.anomalies import SynthesisConfig, SyntheticAnomaly, synthesize
from edge_ad.synthesis.textures import Textures


@dataclass(frozen=True)
class BatchSampler:
    """Draws the batch of any step."""

    tiles: Image
    chosen: NDArray[np.intp]
    textures: Textures
    settings: SynthesisConfig
    size: int
    seed: int
    grey: bool

    def draw(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, 1, step])
        chosen = [self._tile(step * self.size + place) for place in range(self.size)]
        return batch_of([self._damage(index, rng) for index in chosen], chosen)

    def _damage(self, index: int, rng: np.random.Generator) -> SyntheticAnomaly:
        return synthesize(self.tiles[index], self.textures, self.settings, rng, grey=self.grey)

    def _tile(self, place: int) -> int:
        """Each pass over the tiles goes in its own order."""
        epoch, position = divmod(place, len(self.chosen))
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.chosen))
        return int(self.chosen[order[position]])


def batch_of(samples: list[SyntheticAnomaly], chosen: list[int]) -> Batch:
    """Stack samples."""
    normal, anomalous = (
        _rgb(np.stack(images))
        for images in ([s.normal for s in samples], [s.anomalous for s in samples])
    )
    mask = torch.from_numpy(np.stack([s.mask for s in samples])).unsqueeze(1).float()
    return Batch(normal, anomalous, mask, torch.tensor(chosen))


def prefetched(drawer: BatchSampler, first: int, workers: int) -> Generator[Batch, None, None]:
    """Batches of the steps from `first` on, drawn ahead by `workers` threads.

    Close the iterator to end the threads.
    """
    with ThreadPoolExecutor(workers, "batches") as pool:
        steps = itertools.count(first)
        ahead: deque[Future[Batch]] = deque(
            pool.submit(drawer.draw, next(steps)) for _ in range(workers + 1)
        )
        try:
            while True:
                ready = ahead.popleft().result()
                ahead.append(pool.submit(drawer.draw, next(steps)))
                yield ready
        finally:
            pool.shutdown(cancel_futures=True)


def _rgb(bgr: Image) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W)."""
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    return torch.from_numpy(rgb).permute(0, 3, 1, 2).float().div_(255)
