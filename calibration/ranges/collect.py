"""One pass over the images: what every tensor that is to be quantized was seen to hold.

The graph runs in fp32 on ONNX Runtime with these tensors as further outputs. One histogram a tensor
serves all methods, so that comparing methods costs no second pass; what the images look like is
noted on the way, for the check of the set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_ad.calibration.quantize.graph_engine import open_session
from edge_ad.calibration.quantize.placement import Target
from edge_ad.calibration.ranges.histogram import Histogram
from edge_ad.calibration.ranges.image_set import ImageSet
from edge_ad.calibration.ranges.methods import SIGNED, UNSIGNED, all_amax, percentile
from edge_ad.calibration.ranges.table import RangeTable, SetId, TensorRange, model_id
from edge_ad.calibration.ranges.thumbnail import Thumbnail, thumbnail_of
from edge_ad.engine.base import INPUT, SCORE, in_batches
from edge_ad.errors import DataError, EdgeAdError
from edge_ad.frame import Image
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.preprocess import Preprocess

if TYPE_CHECKING:
    import onnxruntime as ort

_CURVE = 99.99  # percentile whose settling is watched: one outlier does not move it


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """After `images`: by tensor the amax seen, and its 99.99th percentile."""

    images: int
    amax: dict[str, float]
    percentile: dict[str, float]


@dataclass(frozen=True)
class CollectedRanges:
    """A pass's yield: ranges, how they settled, and what the images looked like."""

    table: RangeTable
    curve: tuple[CurvePoint, ...]
    views: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class RangeProgress:
    """What a pass has seen so far: a histogram a tensor, a view an image."""

    histograms: dict[str, Histogram]
    views: list[Thumbnail] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)


class RangeObserver:
    """Feeds batches to the graph and counts in one histogram a tensor."""

    def __init__(
        self, graph: GraphIndex, histograms: dict[str, Histogram], *, threads: int = 0
    ) -> None:
        self._batch = graph.manifest.batch
        self.histograms = histograms
        self._session = _session(graph, list(self.histograms), threads)

    def see(self, batch: Image, name: str) -> float:
        """Count what the tensors hold for uint8 (n, H, W, 3) images of the image `name`.

        Answers the largest anomaly score. Raises EdgeAdError for values that are not finite.
        """
        scores = []
        for part in in_batches(batch, self._batch) if self._batch else [batch]:
            rows = min(len(part), len(batch))
            score, *values = self._session.run([SCORE, *self.histograms], {INPUT: part})
            scores.append(float(score[:rows].max()))
            for tensor, found in zip(self.histograms, values, strict=True):
                padded = rows < len(part) == (len(found) if found.ndim else 0)
                self._add(tensor, found[:rows] if padded else found, name)
            batch = batch[rows:]
        return max(scores)

    def point(self, images: int) -> CurvePoint:
        """Where the ranges stand now."""
        heard = {name: found for name, found in self.histograms.items() if found.reach}
        return CurvePoint(
            images,
            {name: found.amax for name, found in heard.items()},
            {name: percentile(found.counts, found.width, _CURVE) for name, found in heard.items()},
        )

    def _add(self, tensor: str, values: NDArray[np.float32], name: str) -> None:
        try:
            self.histograms[tensor].add(values)
        except DataError as error:
            raise EdgeAdError(
                f"{name}: tensor '{tensor}' of the fp32 engine: {error}. No ranges can come from "
                "an engine that fails on a good image; look at it, and train or export again."
            ) from error


def collect(
    graph: GraphIndex,
    tensors: Iterable[str],
    target: Target,
    images: ImageSet,
    *,
    seen: Callable[[RangeProgress], None] = lambda progress: None,
    start: RangeProgress | None = None,
    threads: int = 0,
) -> CollectedRanges:
    """Show every image, cut as the line cuts its frames, to the fp32 graph, once.

    `seen` hears what is done after each image; a pass that has such a `start` goes on there.
    Memory does not grow with the set, but for a thumbnail an image.
    """
    progress = start or RangeProgress({tensor: Histogram() for tensor in tensors})
    observer = RangeObserver(graph, progress.histograms, threads=threads)
    cut = Preprocess(graph.manifest.size_hw, graph.manifest.geometry)
    views, curve = progress.views, progress.curve
    for image in images.after(len(views)):
        score = observer.see(cut(image.image), str(image.path))
        views.append(thumbnail_of(image.path, image.image, score, damaged=image.damaged))
        if len(views) in _checkpoints(len(images)):
            curve.append(observer.point(len(views)))
        seen(progress)
    return CollectedRanges(
        _table(graph, target, images, observer, len(views)), tuple(curve), tuple(views)
    )


def steps_of(histogram: Histogram, target: Target) -> int:
    """Steps from zero to amax: unsigned activations of one sign have all 255."""
    one_sign = histogram.low >= 0 or histogram.high <= 0
    return UNSIGNED if target == "onnxruntime" and one_sign else SIGNED


def _checkpoints(total: int) -> Iterator[int]:
    """1, 2, 4, 8 ... and the last."""
    count = 1
    while count < total:
        yield count
        count *= 2
    yield total


def _table(
    graph: GraphIndex, target: Target, images: ImageSet, observer: RangeObserver, seen: int
) -> RangeTable:
    heard = {name: found for name, found in observer.histograms.items() if found.reach}
    origin = SetId(
        sha256=images.sha256(),
        images=len(images),
        damaged=len(images.damaged),
        seed=images.seed,
    )
    return RangeTable(
        target=target,
        model=model_id(graph),
        sets=(origin,),
        frames_seen=seen,
        silent=tuple(sorted(set(observer.histograms) - set(heard))),
        tensors={
            name: TensorRange(
                low=found.low, high=found.high, amax=all_amax(found, steps_of(found, target))
            )
            for name, found in heard.items()
        },
    )


def _session(graph: GraphIndex, tensors: list[str], threads: int) -> ort.InferenceSession:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    known = {door.name for door in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors if t not in known)
    return open_session(model, threads=threads)
