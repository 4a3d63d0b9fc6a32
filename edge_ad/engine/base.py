"""What every engine is, whatever computes it."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_ad.closeable import Closeable
from edge_ad.frame import Image
from edge_ad.manifest import Manifest

INPUT, MAP, SCORE = "image", "anomaly_map", "anomaly_score"
USUAL_MOST = 8  # images a call, for graphs that leave the number open


class Prediction(NamedTuple):
    """maps float32 (N, H, W) and scores float32 (N,), raw units, higher is worse."""

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]


class Engine(Closeable, Protocol):
    """A loaded model, warmed up, in a `with` block."""

    name: str
    manifest: Manifest

    def infer(self, batch: Image) -> Prediction:
        """Judge uint8 (n, H, W, 3) BGR images, any n >= 1; the next call may reuse the arrays."""

    def close(self) -> None:
        """Release what the engine holds; a second call does nothing."""


@runtime_checkable
class OverlappingEngine(Engine, Protocol):
    """An engine that works while its caller does: `infer` in two halves.

    Two batches may be under way; answers come in the order of submission.
    """

    def submit(self, batch: Image) -> None:
        """Start judging; the array may be reused at once."""

    def collect(self) -> Prediction:
        """Wait for the oldest batch submitted."""


def in_batches(batch: Image, size: int) -> list[Image]:
    """Split n images into arrays of exactly `size`, the last padded with copies of its last image.

    A fixed-shape engine then takes any n; the caller drops what the padding answers.
    """
    parts = [batch[start : start + size] for start in range(0, len(batch), size)]
    missing = size - len(parts[-1])
    if missing:
        parts[-1] = np.concatenate([parts[-1], np.repeat(parts[-1][-1:], missing, axis=0)])
    return parts


def check_batch(batch: Image, manifest: Manifest, name: str) -> None:
    """Raise ValueError, a programming error, when a batch is not what the contract says."""
    wanted = (*manifest.size_hw, 3)
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != wanted:
        raise ValueError(f"{name} wants uint8 (n, *{wanted}), got {batch.dtype} {batch.shape}")
