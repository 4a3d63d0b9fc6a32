"""Training data: images as network-size tiles, and batches of them with synthetic anomalies."""

from __future__ import annotations

import itertools
import logging
import math
import os
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.dataset import readable
from edge_ad.errors import DataError, OutletLost, naming
from edge_ad.files import sha256_of
from edge_ad.frame import Image
from edge_ad.frame_gate import content_fault
from edge_ad.methods.learning.batch import Batch
from edge_ad.parts import ImageId, identify
from edge_ad.preprocess import Preprocess
from edge_ad.synthesis.anomalies import SynthesisConfig, SyntheticAnomaly, synthesize
from edge_ad.synthesis.textures import Textures

_log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 2 << 30
MIXED = 1.1  # ratio between the ratios of height to width, above which a training warns


@dataclass(frozen=True)
class NormalTiles:
    """Tiles uint8 (n, H, W, 3) BGR; `image` (n,) is the number of the image each was cut from.

    `paths` and `ids` are those of the images; `tile_hw` is a tile's median height and width in
    their pixels, `ratios` the least and greatest ratio of its height to its width.
    """

    tiles: Image
    image: NDArray[np.intp]
    paths: tuple[Path, ...]
    ids: tuple[ImageId, ...]
    skipped: tuple[str, ...]
    data_sha256: str
    tile_hw: tuple[float, float]
    ratios: tuple[float, float]

    @property
    def images(self) -> int:
        """Return the number of images."""
        return len(self.paths)


def load_tiles(paths: Sequence[Path], preprocess: Preprocess) -> NormalTiles:
    """Decode, crop and cut images as the line does; skip unreadable, black and saturated ones.

    Raises DataError when none is left, UsageError when the geometry does not fit one.
    """
    count = preprocess.geometry.tile_count
    tiles = _array((len(paths) * count, *preprocess.size_hw, 3))
    loaded: dict[Path, ImageId] = {}
    cut: list[tuple[int, int]] = []
    for path, image in _usable(paths):
        with naming(path):
            tiles[len(loaded) * count : (len(loaded) + 1) * count] = preprocess(image)
            cut.append(preprocess.tile_hw((image.shape[0], image.shape[1])))
        loaded[path] = identify(path, image)
    if not loaded:
        raise DataError("no images to train on.")
    ratios = [height / width for height, width in cut]
    return NormalTiles(
        tiles=tiles[: len(loaded) * count],
        image=np.repeat(np.arange(len(loaded)), count),
        paths=tuple(loaded),
        ids=tuple(loaded.values()),
        skipped=tuple(str(path) for path in paths if path not in loaded),
        data_sha256=sha256_of(loaded),
        tile_hw=(median(height for height, _ in cut), median(width for _, width in cut)),
        ratios=(min(ratios), max(ratios)),
    )


def scale_of(normal: NormalTiles, size_hw: tuple[int, int]) -> float:
    """Return how many pixels of an input of this size a pixel of the images is, along a side."""
    return math.sqrt(size_hw[0] * size_hw[1] / (normal.tile_hw[0] * normal.tile_hw[1]))


def warn_of_ratios(normal: NormalTiles, size_hw: tuple[int, int]) -> None:
    """Log where images are stretched differently: a line's camera has one size."""
    least, greatest = normal.ratios
    if greatest > MIXED * least:
        _log.warning(
            "the images differ in their ratio of height to width, from %.2f to %.2f, and all are "
            "stretched to the input's %dx%d. If they are of several cameras, or cut differently, "
            "train on one kind.", least, greatest, *size_hw,
        )  # fmt: skip


def _usable(paths: Sequence[Path]) -> Iterator[tuple[Path, Image]]:
    """Yield the readable images that the line would inspect too; log the others."""
    problems: list[str] = []
    usable = 0
    for path, image in readable(paths):
        if problem := content_fault(image):
            problems.append(f"{path}: {problem}")
            _log.warning("skipped: %s", problems[-1])
            continue
        usable += 1
        yield path, image
    if problems and not usable:
        raise DataError(
            f"none of the {len(problems)} images shows a part. The first: {problems[0]}"
        )


def _array(shape: tuple[int, ...]) -> Image:
    """Allocate memory, or a temporary file on disk when the tiles are many.

    Its space is taken at once: the system kills a process that writes to a map on a full disk.
    """
    size = int(np.prod(shape))
    if size <= IN_MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise OutletLost(
            f"{tempfile.gettempdir()}: no room for the {size >> 20} MiB of tiles to train on "
            f"({error.strerror}). Free some space, or set the environment variable TMPDIR to "
            "another folder."
        ) from error


@dataclass(frozen=True)
class BatchSampler:
    """Draws the batch of any step.

    A batch depends on seed and step alone, so training can resume. With `repetition` each tile is
    drawn from all; otherwise every tile comes once before any comes again.
    """

    tiles: Image
    indices: NDArray[np.intp]
    textures: Textures
    synthesis: SynthesisConfig
    size: int
    seed: int
    grey: bool
    repetition: bool = False

    def draw(self, step: int) -> Batch:
        """Return the batch of a step."""
        rng = np.random.default_rng([self.seed, 1, step])
        indices = [self._index(step * self.size + place) for place in range(self.size)]
        return batch_of([self._sample(index, rng) for index in indices], indices)

    def _sample(self, index: int, rng: np.random.Generator) -> SyntheticAnomaly:
        return synthesize(self.tiles[index], self.textures, self.synthesis, rng, grey=self.grey)

    def _index(self, place: int) -> int:
        """Return the tile at a place of the sequence; each epoch is shuffled differently."""
        if self.repetition:
            rng = np.random.default_rng([self.seed, 4, place])
            return int(self.indices[rng.integers(len(self.indices))])
        epoch, position = divmod(place, len(self.indices))
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.indices))
        return int(self.indices[order[position]])


def batch_of(samples: list[SyntheticAnomaly], indices: list[int]) -> Batch:
    """Stack samples of the tiles with these numbers."""
    normal = _rgb(np.stack([sample.normal for sample in samples]))
    anomalous = _rgb(np.stack([sample.anomalous for sample in samples]))
    mask = torch.from_numpy(np.stack([sample.mask for sample in samples])).unsqueeze(1).float()
    return Batch(normal, anomalous, mask, torch.tensor(indices))


def prefetch(sampler: BatchSampler, first: int, workers: int) -> Generator[Batch, None, None]:
    """Yield the batches of the steps from `first` on, drawn ahead by `workers` threads.

    Close the iterator to end the threads.
    """
    with ThreadPoolExecutor(workers, "batches") as pool:
        steps = itertools.count(first)
        pending: deque[Future[Batch]] = deque(
            pool.submit(sampler.draw, next(steps)) for _ in range(workers + 1)
        )
        try:
            while True:
                batch = pending.popleft().result()
                pending.append(pool.submit(sampler.draw, next(steps)))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def _rgb(bgr: Image) -> Tensor:
    """Convert uint8 (N, H, W, 3) to float32 (N, 3, H, W)."""
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    return torch.from_numpy(rgb).permute(0, 3, 1, 2).float().div_(255)
