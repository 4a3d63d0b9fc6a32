"""Compute the score and the map of a frame from an engine's output.

The line, evaluation, thresholds and the int8 gate all score here, so that their scores agree.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edge_ad.engine import Engine, Prediction
from edge_ad.errors import InvalidOutput, UsageError
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.inspection import rescore
from edge_ad.preprocess import AnomalyMap, Map, Preprocess


class Scored(NamedTuple):
    """A frame's image score and map; the score is NaN when the output contains NaN or Inf."""

    score: float
    anomaly_map: AnomalyMap


class Scorer:
    """Scores frames with one engine and one geometry, by default the engine's.

    Raises UsageError when the geometry does not fit a frame or ignores all of it.
    """

    def __init__(self, engine: Engine, geometry: Geometry | None = None) -> None:
        manifest = engine.manifest
        self._engine, self._rule = engine, manifest.score
        self.preprocess = Preprocess(manifest.size_hw, geometry or manifest.geometry)

    def __call__(self, image: Image) -> tuple[float, Map]:
        """Return the score and the stitched map of a frame; the map is a copy.

        Raises InvalidOutput when the engine output contains NaN or Inf.
        """
        return self.answer(self.preprocess(image), (image.shape[0], image.shape[1]))

    def answer(self, batch: Image, frame_hw: tuple[int, int]) -> tuple[float, Map]:
        """Do the same for a frame that is already preprocessed to the engine's batch."""
        score, anomaly_map = self.read(self._engine.infer(batch), frame_hw)
        if math.isnan(score):
            raise InvalidOutput(
                f"{self._engine.name}: the engine output contains NaN or Inf, so it cannot judge "
                "any frame. Train or export it again."
            )
        return score, anomaly_map.values.copy()

    def read(self, prediction: Prediction, frame_hw: tuple[int, int]) -> Scored:
        """Return score and map from an engine output; the map may be the engine's own array."""
        anomaly_map = self.preprocess.stitch(prediction.maps, frame_hw)
        return Scored(self._score(prediction, frame_hw), anomaly_map)

    def _score(self, prediction: Prediction, frame_hw: tuple[int, int]) -> float:
        """Return the graph's score, recomputed from the map when part of it is ignored."""
        maps, scores = prediction
        if not (np.isfinite(maps).all() and np.isfinite(scores).all()):
            return math.nan
        if not self.preprocess.geometry.ignore:
            return float(scores.max())
        ignored = self.preprocess.tile_ignored(frame_hw)
        if ignored.all():
            raise UsageError("the ignored polygons cover the whole judged area. Shrink --ignore.")
        return rescore(maps, ignored, self._rule)
