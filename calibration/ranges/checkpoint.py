"""Checkpoint of a pass over the calibration images, so that an interrupted one can resume."""

from __future__ import annotations

import logging
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.ranges.collect import CurvePoint, RangeProgress
from edge_ad.calibration.ranges.histogram import Histogram
from edge_ad.calibration.ranges.image_set import CalibrationSet, ImageSummary
from edge_ad.files import replacing

_EVERY_S = 20.0  # seconds of work that can be lost; writing takes a tenth of a second
_log = logging.getLogger(__name__)


class RangeCheckpoint:
    """Keep the state of a pass in a file; `identity` covers everything it depends on."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        self._saved_s = time.monotonic()

    def update(self, progress: RangeProgress) -> None:
        """Save the state if the last save is more than 20 seconds ago."""
        if time.monotonic() - self._saved_s >= _EVERY_S:
            self.save(progress)

    def save(self, progress: RangeProgress) -> None:
        """Save the state in one step."""
        summaries, curve = progress.summaries, progress.curve
        names, histograms = list(progress.histograms), progress.histograms.values()
        with replacing(self._path) as temporary:
            np.savez_compressed(
                temporary,
                identity=self._identity,
                tensors=names,
                reach=[histogram.reach for histogram in histograms],
                low=[histogram.low for histogram in histograms],
                high=[histogram.high for histogram in histograms],
                counts=np.stack([histogram.counts for histogram in histograms]),
                thumbnails=np.stack([summary.thumbnail for summary in summaries]),
                scores=[summary.score for summary in summaries],
                sizes=[summary.size_hw for summary in summaries],
                points=np.array([point.images for point in curve], np.int64),
                amax=[[p.amax.get(name, np.nan) for name in names] for p in curve],
                percentile=[[p.percentile.get(name, np.nan) for name in names] for p in curve],
            )
        self._saved_s = time.monotonic()

    def load(self, images: CalibrationSet) -> RangeProgress | None:
        """Return the saved state; None without a file, or with one of another pass."""
        if not self._path.exists():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as file:
                stored = {name: file[name] for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None
        if str(stored.get("identity")) != self._identity:
            _log.warning(
                "%s belongs to another model, image set or target; starting again", self._path
            )
            return None
        return _progress(stored, images)


def _progress(stored: dict[str, NDArray[Any]], images: CalibrationSet) -> RangeProgress:
    names = [str(name) for name in stored["tensors"]]
    histograms = {name: Histogram() for name in names}
    for index, histogram in enumerate(histograms.values()):
        histogram.reach = float(stored["reach"][index])
        histogram.low, histogram.high = (float(stored[side][index]) for side in ("low", "high"))
        histogram.counts = stored["counts"][index]
    rows = zip(stored["thumbnails"], stored["scores"], stored["sizes"], strict=True)
    summaries = [
        ImageSummary(
            images.paths[i], thumbnail, float(score), (int(h), int(w)), i in images.anomalous
        )
        for i, (thumbnail, score, (h, w)) in enumerate(rows)
    ]
    curve = [
        CurvePoint(int(count), _by_name(names, amax), _by_name(names, percentile))
        for count, amax, percentile in zip(
            stored["points"], stored["amax"], stored["percentile"], strict=True
        )
    ]
    return RangeProgress(histograms, summaries, curve)


def _by_name(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    """Return the values by name; NaN marks tensors that were still all zero at that point."""
    pairs = zip(names, values, strict=True)
    return {name: float(value) for name, value in pairs if not np.isnan(value)}
