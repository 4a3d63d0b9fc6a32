"""Obtain the range table of a calibration: from images, a saved table or a TensorRT cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_ad.calibration.quantize.config import CalibrationConfig, OnProgress
from edge_ad.calibration.quantize.eval_set import EvalSet
from edge_ad.calibration.quantize.placement import place
from edge_ad.calibration.quantize.result_cache import ResultCache, identity
from edge_ad.calibration.ranges.checkpoint import RangeCheckpoint
from edge_ad.calibration.ranges.collect import RangeProgress, collect
from edge_ad.calibration.ranges.dataset_report import dataset_report
from edge_ad.calibration.ranges.image_set import CalibrationSet
from edge_ad.calibration.ranges.table import RangeTable, check_fits, load_table, merge
from edge_ad.calibration.ranges.trt_cache import table_from_cache
from edge_ad.errors import DataError
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.provenance import versions

_REPORT = "dataset_report"


def range_table(
    config: CalibrationConfig,
    graph: GraphIndex,
    images: CalibrationSet | None,
    eval_set: EvalSet,
    methods: Sequence[str],
    cache: ResultCache,
    on_progress: OnProgress,
) -> tuple[RangeTable, dict[str, Any] | None]:
    """Return the merged ranges, and the report on the images if they come from images."""
    tensors = place(graph, config.target, config.overrides).tensors
    report = None
    if config.ranges is not None:
        source, table = config.ranges, load_table(config.ranges)
    elif config.read_cache is not None:
        source, table = config.read_cache, table_from_cache(config.read_cache, graph)
    else:
        assert images is not None and config.images is not None
        source = config.images
        table, report = _from_images(
            config, graph, tensors, images, eval_set, methods, cache, on_progress
        )
    names = [str(source), *(str(path) for path in config.merge)]
    tables = [table, *(load_table(path) for path in config.merge)]
    for name, item in zip(names, tables, strict=True):
        check_fits(item, graph, config.target, tensors, name)
    return merge(tables, names), report


def _from_images(
    config: CalibrationConfig,
    graph: GraphIndex,
    tensors: Sequence[str],
    images: CalibrationSet,
    eval_set: EvalSet,
    methods: Sequence[str],
    cache: ResultCache,
    on_progress: OnProgress,
) -> tuple[RangeTable, dict[str, Any]]:
    saved = _saved_table(config, graph, images, methods) if _REPORT in cache else None
    if saved is not None:
        return saved, dict(cache.get(_REPORT, dict))
    table, progress = _collect(config, graph, tensors, images, on_progress)
    report = dataset_report(
        progress.summaries,
        progress.curve,
        unreadable=images.unreadable,
        test=eval_set.summaries,
    ).as_json()
    report["left_out"] = dict(images.left_out)
    return table, dict(cache.get(_REPORT, lambda: report))


def _collect(
    config: CalibrationConfig,
    graph: GraphIndex,
    tensors: Sequence[str],
    images: CalibrationSet,
    on_progress: OnProgress,
) -> tuple[RangeTable, RangeProgress]:
    """Run the pass over the images, or the rest of one that was interrupted."""
    parts = (graph.sha256, config.target, tensors, images.sha256(), images.seed, versions())
    checkpoint = RangeCheckpoint(
        config.checkpoint_path, identity([*parts, sorted(images.anomalous)])
    )

    def on_image(progress: RangeProgress) -> None:
        on_progress("collecting ranges", len(progress.summaries), len(images))
        checkpoint.update(progress)

    start = checkpoint.load(images) if config.resume else None
    return collect(
        graph,
        tensors,
        config.target,
        images,
        on_image=on_image,
        start=start,
        threads=config.threads,
    )


def _saved_table(
    config: CalibrationConfig, graph: GraphIndex, images: CalibrationSet, methods: Sequence[str]
) -> RangeTable | None:
    """Return the table that an interrupted run wrote from these images, if it has all methods."""
    if config.merge or not config.unfinished_table_path.exists():
        return None
    try:
        table = load_table(config.unfinished_table_path)
    except DataError:
        return None
    same_images = [image_set.sha256 for image_set in table.sets] == [images.sha256()]
    same_model = table.model.sha256 == graph.sha256
    return table if same_images and same_model and all(map(table.has, methods)) else None
