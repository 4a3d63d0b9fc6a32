"""What an interrupted pass over the images had seen, in one file, so that it can go on there."""

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
from edge_ad.calibration.ranges.image_set import ImageSet
from edge_ad.calibration.ranges.thumbnail import Thumbnail
from edge_ad.files import replacing

_EVERY_S = 20.0  # at most so much work is lost; writing takes a tenth of a second
_log = logging.getLogger(__name__)


class RangeCheckpoint:
    """Keeps a pass in a file; `identity` names all that it depends on."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        self._last_s = time.monotonic()

    def keep(self, progress: RangeProgress) -> None:
        """Write what was seen, now and then."""
        if time.monotonic() - self._last_s >= _EVERY_S:
            self.save(progress)

    def save(self, progress: RangeProgress) -> None:
        """Write what was seen, in one step."""
        found, views, curve = progress.histograms.values(), progress.views, progress.curve
        names = list(progress.histograms)
        with replacing(self._path) as temporary:
            np.savez_compressed(
                temporary,
                identity=self._identity,
                tensors=names,
                reach=[one.reach for one in found],
                low=[one.low for one in found],
                high=[one.high for one in found],
                counts=np.stack([one.counts for one in found]),
                thumbnails=np.stack([view.thumbnail for view in views]),
                scores=[view.score for view in views],
                sizes=[view.size_hw for view in views],
                points=np.array([point.images for point in curve], np.int64),
                amax=[[p.amax.get(name, np.nan) for name in names] for p in curve],
                percentile=[[p.percentile.get(name, np.nan) for name in names] for p in curve],
            )
        self._last_s = time.monotonic()

    def load(self, images: ImageSet) -> RangeProgress | None:
        """What was seen of these images; None without a file, or with one of another pass."""
        if not self._path.exists():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as found:
                stored = {name: found[name] for name in found.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None
        if str(stored.get("identity")) != self._identity:
            _log.warning("%s: of another model, set or target; starting anew", self._path)
            return None
        return _progress(stored, images)


def _progress(stored: dict[str, NDArray[Any]], images: ImageSet) -> RangeProgress:
    names = [str(name) for name in stored["tensors"]]
    histograms = {name: Histogram() for name in names}
    for index, histogram in enumerate(histograms.values()):
        histogram.reach = float(stored["reach"][index])
        histogram.low, histogram.high = (float(stored[side][index]) for side in ("low", "high"))
        histogram.counts = stored["counts"][index]
    seen = enumerate(zip(stored["thumbnails"], stored["scores"], stored["sizes"], strict=True))
    views = [
        Thumbnail(images.paths[i], small, float(score), (int(h), int(w)), i in images.damaged)
        for i, (small, score, (h, w)) in seen
    ]
    curve = [
        CurvePoint(int(count), _known(names, amax), _known(names, percentile))
        for count, amax, percentile in zip(
            stored["points"], stored["amax"], stored["percentile"], strict=True
        )
    ]
    return RangeProgress(histograms, views, curve)


def _known(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    """By name what is no nan: tensors that had been zero so far have no point on the curve."""
    pairs = zip(names, values, strict=True)
    return {name: float(value) for name, value in pairs if not np.isnan(value)}
