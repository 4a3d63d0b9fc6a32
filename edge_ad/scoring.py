"""What a frame scores: an engine's answer, stitched, without what is to be ignored.

The line, evaluation, thresholds and the int8 gate all score here, so they mean the same number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edge_ad.engine import Engine, Prediction
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.inspection import rescore
from edge_ad.preprocess import AnomalyMap, Map, Preprocess


class Scored(NamedTuple):
    """A frame's image score and its map; the score is NaN when either holds what is no number."""

    score: float
    anomaly_map: AnomalyMap


class Scorer:
    """Scores frames with one engine under one geometry, its own unless another is given.

    Raises UsageError when the geometry does not fit a frame or leaves nothing of it to judge.
    """

    def __init__(self, engine: Engine, geometry: Geometry | None = None) -> None:
        manifest = engine.manifest
        self._engine, self._rule = engine, manifest.score
        self.preprocess = Preprocess(manifest.size_hw, geometry or manifest.geometry)

    def __call__(self, image: Image) -> tuple[float, Map]:
        """The score and the stitched map of a frame, which are the caller's to keep.

        Raises EdgeAdError when the engine answers with what is no number.
        """
        return self.answer(self.preprocess(image), (image.shape[0], image.shape[1]))

    def answer(self, batch: Image, frame_hw: tuple[int, int]) -> tuple[float, Map]:
        """The same for a frame that was cut to the engine's batch before."""
        score, anomaly_map = self.read(self._engine.infer(batch), frame_hw)
        if math.isnan(score):
            raise EdgeAdError(
                f"{self._engine.name} answers with values that are not numbers, so it can judge "
                "nothing. Train or export it anew."
            )
        return score, anomaly_map.values.copy()

    def read(self, prediction: Prediction, frame_hw: tuple[int, int]) -> Scored:
        """What an answer says of its frame; the map may be the engine's own array."""
        anomaly_map = self.preprocess.stitch(prediction.maps, frame_hw)
        return Scored(self._score(prediction, frame_hw), anomaly_map)

    def _score(self, prediction: Prediction, frame_hw: tuple[int, int]) -> float:
        """The graph's own score, unless part of its map is to be ignored."""
        maps, scores = prediction
        if not (np.isfinite(maps).all() and np.isfinite(scores).all()):
            return math.nan
        if not self.preprocess.geometry.ignore:
            return float(scores.max())
        ignored = self.preprocess.tile_ignored(frame_hw)
        if ignored.all():
            raise UsageError("the ignored polygons cover all that is judged. Shrink --ignore.")
        return rescore(maps, ignored, self._rule)
