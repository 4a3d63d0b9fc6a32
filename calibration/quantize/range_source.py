"""Obtain the range table of a calibration: from images, a saved table or a TensorRT cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class RangeSource:
    """What a range table is made from.

    `images` is None where the ranges come from a file; `eval_set` is compared with the images for
    the report. `cache` and the files that `config` names let an interrupted pass continue.
    """

    config: CalibrationConfig
    graph: GraphIndex
    images: CalibrationSet | None
    eval_set: EvalSet
    methods: Sequence[str]
    cache: ResultCache
    on_progress: OnProgress

    def table(self) -> tuple[RangeTable, dict[str, Any] | None]:
        """Return the merged ranges, and the report on the images if they come from images."""
        config = self.config
        tensors = place(self.graph, config.target, config.overrides).tensors
        report = None
        if config.ranges is not None:
            source, table = config.ranges, load_table(config.ranges)
        elif config.read_cache is not None:
            source, table = config.read_cache, table_from_cache(config.read_cache, self.graph)
        else:
            assert self.images is not None and config.images is not None
            source = config.images
            table, report = self._from_images(self.images, tensors)
        names = [str(source), *(str(path) for path in config.merge)]
        tables = [table, *(load_table(path) for path in config.merge)]
        for name, item in zip(names, tables, strict=True):
            check_fits(item, self.graph, config.target, tensors, name)
        return merge(tables, names), report

    def _from_images(
        self, images: CalibrationSet, tensors: Sequence[str]
    ) -> tuple[RangeTable, dict[str, Any]]:
        saved = self._saved_table(images) if _REPORT in self.cache else None
        if saved is not None:
            return saved, dict(self.cache.get(_REPORT, dict))
        table, progress = self._collect(images, tensors)
        report = dataset_report(
            progress.summaries,
            progress.curve,
            unreadable=images.unreadable,
            test=self.eval_set.summaries,
            split=self.graph.manifest.data_split,
        ).as_json()
        report["left_out"] = dict(images.left_out)
        return table, dict(self.cache.get(_REPORT, lambda: report))

    def _collect(
        self, images: CalibrationSet, tensors: Sequence[str]
    ) -> tuple[RangeTable, RangeProgress]:
        """Run the pass over the images, or the rest of one that was interrupted."""
        config, graph = self.config, self.graph
        parts = (graph.sha256, config.target, tensors, images.sha256(), images.seed, versions())
        checkpoint = RangeCheckpoint(
            config.checkpoint_path, identity([*parts, sorted(images.anomalous)])
        )

        def on_image(progress: RangeProgress) -> None:
            self.on_progress("collecting ranges", len(progress.summaries), len(images))
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

    def _saved_table(self, images: CalibrationSet) -> RangeTable | None:
        """Return the table that an interrupted run wrote of these images, if it has all methods."""
        path = self.config.unfinished_table_path
        if self.config.merge or not path.exists():
            return None
        try:
            table = load_table(path)
        except DataError:
            return None
        same_images = [image_set.sha256 for image_set in table.sets] == [images.sha256()]
        same_model = table.model.sha256 == self.graph.sha256
        return table if same_images and same_model and all(map(table.has, self.methods)) else None
