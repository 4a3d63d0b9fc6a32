"""The interface of every engine, independent of the runtime behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_ad.closeable import Closeable
from edge_ad.frame import Image
from edge_ad.manifest import Manifest

INPUT, MAP, SCORE = "image", "anomaly_map", "anomaly_score"
DEFAULT_MAX_BATCH = 8  # images a call, for graphs that take any number


class Prediction(NamedTuple):
    """maps float32 (N, H, W) and scores float32 (N,), raw units, higher is more anomalous."""

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]


class GpuTimes(NamedTuple):
    """Milliseconds that one launch took on the GPU, copies in and out apart."""

    upload_ms: float
    compute_ms: float
    download_ms: float


class Engine(Closeable, Protocol):
    """A loaded model, warmed up, in a `with` block."""

    name: str
    manifest: Manifest

    def infer(self, batch: Image) -> Prediction:
        """Predict for uint8 (n, H, W, 3) BGR images, n >= 1; the next call may reuse the arrays."""

    def close(self) -> None:
        """Release the engine's resources; a second call does nothing."""


@runtime_checkable
class OverlappingEngine(Engine, Protocol):
    """An engine that computes while its caller works: `infer` in two steps.

    Two batches may be in flight; results come in the order of submission.
    """

    def submit(self, batch: Image) -> None:
        """Start inference; the array may be reused at once."""

    def collect(self) -> Prediction:
        """Wait for the oldest submitted batch and return its prediction."""


@runtime_checkable
class GpuTimedEngine(Engine, Protocol):
    """An engine whose GPU says how long its work took."""

    @property
    def gpu_times(self) -> GpuTimes:
        """Return the times of the last call."""


def default_profile(manifest: Manifest) -> tuple[int, int, int]:
    """Return the least, usual and most images a call.

    The usual number for a graph of any number is that of a frame's tiles.
    """
    if manifest.batch is not None:
        return (manifest.batch,) * 3
    usual = manifest.geometry.tile_count
    return 1, usual, max(usual, DEFAULT_MAX_BATCH)


def in_batches(batch: Image, size: int) -> list[Image]:
    """Split n images into arrays of exactly `size`, the last padded with copies of its last image.

    A fixed-shape engine then takes any n; the caller drops the results of the padding.
    """
    parts = [batch[start : start + size] for start in range(0, len(batch), size)]
    padding = size - len(parts[-1])
    if padding:
        parts[-1] = np.concatenate([parts[-1], np.repeat(parts[-1][-1:], padding, axis=0)])
    return parts


def check_batch(batch: Image, manifest: Manifest, name: str) -> None:
    """Raise ValueError, a programming error, when a batch does not match the contract."""
    expected = (*manifest.size_hw, 3)
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != expected:
        raise ValueError(
            f"{name} expects uint8 (n, {', '.join(map(str, expected))}), "
            f"got {batch.dtype} {batch.shape}"
        )


def format_tensors(tensors: Iterable[tuple[str, tuple[Any, tuple[int | None, ...]]]]) -> str:
    """Format named tensors, each with type and shape, for messages about the contract."""
    return ", ".join(f"{name} {kind} {list(shape)}" for name, (kind, shape) in tensors)
