"""An engine that computes its maps with a Python function, for tests of the code around it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import Prediction, check_batch
from edge_ad.frame import Image
from edge_ad.manifest import Manifest


class ScriptedEngine(ClosedAtExit):
    """Predicts `map_of(image)`; the score is the map's maximum.

    The default map is the image's green channel over 255, so a bright spot is an anomaly.
    """

    def __init__(
        self,
        size_hw: tuple[int, int] = (32, 32),
        map_of: Callable[[Image], NDArray[np.float32]] | None = None,
    ) -> None:
        self.name = "scripted"
        self.manifest = Manifest(method="scripted", size_hw=size_hw, batch=None)
        self.calls = 0
        self._map_of = map_of or _green

    def infer(self, batch: Image) -> Prediction:
        check_batch(batch, self.manifest, self.name)
        self.calls += 1
        maps = np.stack([self._map_of(image) for image in batch]).astype(np.float32)
        return Prediction(maps, maps.max(axis=(1, 2)))

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _green(image: Image) -> NDArray[np.float32]:
    return np.asarray(image[:, :, 1] / 255, np.float32)
