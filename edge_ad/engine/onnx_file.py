"""What engines in ONNX files have in common, whichever runtime computes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import (
    INPUT,
    MAP,
    SCORE,
    Prediction,
    check_batch,
    format_tensors,
    in_batches,
)
from edge_ad.errors import EdgeAdError, IncompatibleError
from edge_ad.frame import Image
from edge_ad.manifest import Manifest

Tensors = Mapping[str, tuple[str, tuple[int | None, ...]]]


class OnnxFileEngine(ClosedAtExit, ABC):
    """Splits any number of images into calls of the file's batch. Subclasses run one call.

    `file_sha256` is the digest of the file, None where it was not needed.
    """

    name: str
    manifest: Manifest
    file_sha256: str | None = None

    def infer(self, batch: Image) -> Prediction:
        check_batch(batch, self.manifest, self.name)
        if len(batch) == self.manifest.batch or self.manifest.batch is None:
            return self._run(batch)
        parts = [self._run(part) for part in in_batches(batch, self.manifest.batch)]
        maps, scores = (np.concatenate(arrays)[: len(batch)] for arrays in zip(*parts, strict=True))
        return Prediction(maps, scores)

    @abstractmethod
    def _run(self, batch: Image) -> Prediction:
        """Predict for a batch of the file's size. Raises EdgeAdError when the runtime fails."""

    def _warm_up(self) -> None:
        """Run once. Raises IncompatibleError for outputs of another shape than the graph names."""
        batch = np.zeros((self.manifest.batch or 1, *self.manifest.size_hw, 3), np.uint8)
        try:
            maps, scores = self.infer(batch)
        except EdgeAdError as error:
            raise IncompatibleError(f"{error} Export it again.") from error
        if maps.shape != batch.shape[:3] or scores.shape != batch.shape[:1]:
            raise IncompatibleError(
                f"{self.name}: its outputs have the shapes {maps.shape} and {scores.shape}, "
                f"expected {batch.shape[:3]} and {batch.shape[:1]}. Export it again."
            )


def check_contract(actual: Tensors, manifest: Manifest, path: Path | str) -> None:
    """Compare a graph's inputs and outputs, by name, with the contract; types as ONNX says them."""
    batch, (height, width) = manifest.batch, manifest.size_hw
    expected = {
        INPUT: ("tensor(uint8)", (batch, height, width, 3)),
        MAP: ("tensor(float)", (batch, height, width)),
        SCORE: ("tensor(float)", (batch,)),
    }
    if dict(actual) != expected:
        raise IncompatibleError(
            f"{path}: its inputs and outputs do not match the engine contract. "
            f"Expected {format_tensors(expected.items())}; got {format_tensors(actual.items())}. "
            "Export it with: edge-ad export"
        )
