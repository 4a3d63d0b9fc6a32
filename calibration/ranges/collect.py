"""Collect activation ranges in one pass: the values that every tensor to be quantized takes.

The graph runs in fp32 on ONNX Runtime with these tensors as additional outputs. One histogram per
tensor serves all methods, so that comparing methods costs no second pass; the images are summarized
on the way, for the dataset report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_ad.calibration.ranges.graph_engine import open_session
from edge_ad.calibration.ranges.histogram import Histogram
from edge_ad.calibration.ranges.image_set import CalibrationSet, ImageSummary, summarize
from edge_ad.calibration.ranges.methods import amax_by_method, percentile
from edge_ad.calibration.ranges.table import ImageSetId, RangeTable, TensorRange, model_id
from edge_ad.calibration.ranges.target import Target, steps_of
from edge_ad.engine.base import INPUT, SCORE, in_batches
from edge_ad.errors import DataError, EdgeAdError, naming
from edge_ad.frame import Image
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.preprocess import Preprocess

if TYPE_CHECKING:
    import onnxruntime as ort

_CURVE = 99.99  # percentile whose convergence is watched: one outlier does not move it


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """By tensor, the amax and the 99.99th percentile after `images` images."""

    images: int
    amax: dict[str, float]
    percentile: dict[str, float]


@dataclass(frozen=True)
class RangeProgress:
    """The state of a pass: a histogram per tensor, a summary per image, the convergence curve."""

    histograms: dict[str, Histogram]
    summaries: list[ImageSummary] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)


class RangeObserver:
    """Run batches through the graph and add each tensor's values to its histogram."""

    def __init__(
        self, graph: GraphIndex, histograms: dict[str, Histogram], *, threads: int = 0
    ) -> None:
        self._batch = graph.manifest.batch
        self.histograms = histograms
        self._session = _session(graph, list(self.histograms), threads)

    def observe(self, batch: Image, name: str) -> float:
        """Count the tensors' values for uint8 (n, H, W, 3) tiles of the image `name`.

        Returns the largest anomaly score. Raises EdgeAdError for values that are not finite.
        """
        scores = []
        for part in in_batches(batch, self._batch) if self._batch else [batch]:
            rows = min(len(part), len(batch))
            score, *outputs = self._session.run([SCORE, *self.histograms], {INPUT: part})
            scores.append(float(score[:rows].max()))
            for tensor, values in zip(self.histograms, outputs, strict=True):
                padded = rows < len(part) == (len(values) if values.ndim else 0)
                self._add(tensor, values[:rows] if padded else values, name)
            batch = batch[rows:]
        return max(scores)

    def point(self, images: int) -> CurvePoint:
        """Return where the ranges stand now."""
        active = _nonzero(self.histograms)
        return CurvePoint(
            images,
            {name: histogram.amax for name, histogram in active.items()},
            {name: percentile(histogram, _CURVE) for name, histogram in active.items()},
        )

    def _add(self, tensor: str, values: NDArray[np.float32], name: str) -> None:
        try:
            self.histograms[tensor].add(values)
        except DataError as error:
            raise EdgeAdError(
                f"{name}: tensor '{tensor}' of the fp32 engine: {error}. No ranges can come from "
                "an engine that fails on a normal image; check the image, then train or export "
                "the engine again."
            ) from error


def collect(
    graph: GraphIndex,
    tensors: Iterable[str],
    target: Target,
    images: CalibrationSet,
    *,
    on_image: Callable[[RangeProgress], None] = lambda progress: None,
    start: RangeProgress | None = None,
    threads: int = 0,
) -> tuple[RangeTable, RangeProgress]:
    """Run each calibration image once through the fp32 graph, preprocessed as at run time.

    `on_image` is called after each image; a pass with a `start` continues from there. Memory does
    not grow with the set, but for a thumbnail per image.
    """
    progress = start or RangeProgress({tensor: Histogram() for tensor in tensors})
    observer = RangeObserver(graph, progress.histograms, threads=threads)
    preprocess = Preprocess(graph.manifest.size_hw, graph.manifest.geometry)
    summaries = progress.summaries
    for item in images.after(len(summaries), graph.manifest.geometry):
        with naming(item.path):
            batch = preprocess(item.image)
        score = observer.observe(batch, str(item.path))
        summaries.append(summarize(item.path, item.image, score, anomalous=item.anomalous))
        if len(summaries) in _curve_points(len(images)):
            progress.curve.append(observer.point(len(summaries)))
        on_image(progress)
    return _table(graph, target, images, progress), progress


def _curve_points(total: int) -> Iterator[int]:
    """Yield 1, 2, 4, 8 ... and the total."""
    count = 1
    while count < total:
        yield count
        count *= 2
    yield total


def _table(
    graph: GraphIndex, target: Target, images: CalibrationSet, progress: RangeProgress
) -> RangeTable:
    active = _nonzero(progress.histograms)
    image_set = ImageSetId(
        sha256=images.sha256(),
        images=len(images),
        synthetic_anomalies=len(images.anomalous),
        seed=images.seed,
    )
    return RangeTable(
        target=target,
        model=model_id(graph),
        sets=(image_set,),
        images=len(progress.summaries),
        all_zero=tuple(sorted(set(progress.histograms) - set(active))),
        tensors={name: _range(histogram, target) for name, histogram in active.items()},
    )


def _range(histogram: Histogram, target: Target) -> TensorRange:
    amax = amax_by_method(histogram, steps_of(histogram, target))
    return TensorRange(low=histogram.low, high=histogram.high, amax=amax)


def _nonzero(histograms: dict[str, Histogram]) -> dict[str, Histogram]:
    """Return the histograms of tensors that were not zero everywhere."""
    return {name: histogram for name, histogram in histograms.items() if histogram.reach}


def _session(graph: GraphIndex, tensors: list[str], threads: int) -> ort.InferenceSession:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    outputs = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors if t not in outputs)
    return open_session(model, threads=threads)
