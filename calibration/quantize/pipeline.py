"""Calibrate: from an fp32 engine and normal images to an int8 engine that passed the gate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import onnx

from edge_ad.calibration.quantize.comparison import PrecisionComparison, compare_precisions
from edge_ad.calibration.quantize.config import CalibrationConfig, OnProgress
from edge_ad.calibration.quantize.eval_set import (
    EvalSet,
    affordable,
    labelled_eval_set,
    synthetic_eval_set,
)
from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.quantize.gate import GateLimits, GateResult
from edge_ad.calibration.quantize.placement import block_costs, to_quantize
from edge_ad.calibration.quantize.range_source import RangeSource
from edge_ad.calibration.quantize.result_cache import ResultCache, identity
from edge_ad.calibration.quantize.search import PlacementSearch, SearchResult
from edge_ad.calibration.quantize.threshold_check import (
    ThresholdCheck,
    parts_of_samples,
    threshold_images,
    warn_of_broken_guarantee,
)
from edge_ad.calibration.ranges.image_set import CalibrationSet, choose
from edge_ad.calibration.ranges.methods import methods_named
from edge_ad.calibration.ranges.table import save_table, usable_methods
from edge_ad.calibration.ranges.trt_cache import header
from edge_ad.calibration.thresholds.guarantee import Guarantee
from edge_ad.dataset import labelled_images, normal_images
from edge_ad.errors import DataError, UsageError
from edge_ad.files import file_state
from edge_ad.manifest import Manifest, Threshold
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from edge_ad.precision import Precision
from edge_ad.provenance import versions
from edge_ad.sidecar import load_sidecar

ToFp16: TypeAlias = Callable[[onnx.ModelProto, Manifest], onnx.ModelProto]
_log = logging.getLogger(__name__)
_UNUSED_IMAGES = 32  # normal images outside the calibration set that are enough for the gate


@dataclass(frozen=True)
class CalibrationResult:
    """Everything a calibration produced; `search` is None without a gate.

    `written` says that the candidate is accepted, so that its engine is written.
    """

    evaluator: CandidateEvaluator
    candidate: Candidate
    search: SearchResult | None
    dataset_report: dict[str, Any] | None
    threshold: Threshold | None = None
    comparison: PrecisionComparison | None = None
    written: bool = False

    @property
    def gate(self) -> GateResult | None:
        """Return the chosen candidate's gate result, None without a gate."""
        return self.search.best.gate if self.search else None

    @property
    def passed(self) -> bool:
        """Return whether the candidate passed, or no gate was asked for."""
        return self.gate is None or self.gate.passed


def calibrate(
    config: CalibrationConfig,
    on_progress: OnProgress,
    other_precisions: Mapping[Precision, onnx.ModelProto] | None = None,
    to_fp16: ToFp16 | None = None,
) -> CalibrationResult:
    """Find the int8 graph that passes the gate; `write_calibration` then writes it.

    When none passes, the result says so and why. With graphs of `other_precisions`, int8 must also
    be the fastest by `config.margin`. `to_fp16` makes the graph in which everything that is not
    int8 is fp16, used if that passes too. Raises as `load_graph`, `normal_images`,
    `labelled_images` and `load_table` do for bad input.
    """
    exported = load_graph(config.engine)
    graph = to_quantize(exported, config.target)
    methods = methods_named(config.method)
    _check(config, methods)
    images = _images(config)
    eval_set = _eval_set(config, graph, images)
    _check_pixel_limit(eval_set, config)
    _warn_of_coarse_auroc(eval_set, config.limits)
    cache = _result_cache(config, graph, images, eval_set)
    source = RangeSource(config, graph, images, eval_set, methods, cache, on_progress)
    table, report = source.table()
    methods = usable_methods(table, methods)
    save_table(table, config.unfinished_table_path)
    config.checkpoint_path.unlink(missing_ok=True)
    evaluator = CandidateEvaluator(
        graph,
        table,
        eval_set,
        config.overrides,
        cache,
        fp32_model=exported.model,
        fp16_model=to_fp16(graph.model, graph.manifest) if to_fp16 else None,
        threads=config.threads,
    )
    _check_placement(evaluator, methods[0])
    thresholds = _thresholds(config, evaluator, on_progress)
    result = _search(config, evaluator, thresholds, methods, report, on_progress)
    if other_precisions is not None:
        on_progress("comparing precisions", 0, 1)
        result = replace(result, comparison=_compare(config, result, other_precisions))
    if not result.passed:
        return result
    if not result.comparison or result.comparison.winner.precision == "int8":
        threshold = thresholds.threshold(result.candidate) if thresholds else None
        result = replace(result, threshold=threshold, written=True)
    return result


def delete_unfinished(config: CalibrationConfig) -> None:
    """Delete what an interrupted calibration would continue from."""
    for path in (config.cache_path, config.unfinished_table_path, config.checkpoint_path):
        path.unlink(missing_ok=True)


def _check(config: CalibrationConfig, methods: Sequence[str]) -> None:
    if not config.gate and len(methods) > 1:
        raise UsageError(
            f"--method {config.method} lets the gate choose: name one method, or drop --no-gate."
        )
    if not config.gate and config.test:
        raise UsageError("--test is for the gate, which --no-gate leaves out; drop one of them.")
    if not (config.images or config.ranges or config.read_cache):
        raise UsageError("ranges need images or a table: give --images GOOD_DIR or --ranges TABLE.")
    if config.ranges and config.read_cache:
        raise UsageError("--ranges and --read-cache exclude each other; give one.")
    if config.target != "tensorrt" and (config.read_cache or config.write_cache):
        raise UsageError("calibration caches are TensorRT's: they need --target tensorrt.")
    header(config.cache_version)
    if config.gate and config.images is None and config.test is None:
        raise UsageError("the gate needs images: give --test DIR or --images GOOD_DIR.")


def _images(config: CalibrationConfig) -> CalibrationSet | None:
    if config.images is None:
        return None
    return choose(
        normal_images(config.images),
        samples=config.samples,
        seed=config.seed,
        synthetic=config.synthetic_anomalies,
    )


def _eval_set(
    config: CalibrationConfig, graph: GraphIndex, images: CalibrationSet | None
) -> EvalSet:
    """Load labelled images, else normal ones outside the calibration set if there are enough."""
    manifest = graph.manifest
    if not config.gate:
        return EvalSet("none", (), manifest)
    limit = affordable(config.gate_images, manifest)
    if config.test is not None:
        labelled = labelled_images(
            config.test, config.layout, leave_out_bad_masks=config.leave_out_bad_masks
        )
        _log.info("%s", labelled)
        return labelled_eval_set(labelled, manifest, limit=limit)
    assert config.images is not None and images is not None
    used = {*images.paths, *images.unreadable}
    others = [path for path in normal_images(config.images) if path not in used]
    paths = others if len(others) >= _UNUSED_IMAGES else sorted(images.paths)
    return synthetic_eval_set(paths, manifest, limit=limit, seed=config.seed)


def _check_pixel_limit(eval_set: EvalSet, config: CalibrationConfig) -> None:
    """Refuse, before any work, a limit that the gate could not check. Raises DataError."""
    if not eval_set.samples or config.limits.pixel_ap is None or eval_set.marks_pixels:
        return
    reason = "no mask marks a pixel inside the inspected area"
    if all(sample.mask is None for sample in eval_set.samples if sample.anomalous):
        reason = "no anomalous image has a mask"
    raise DataError(
        f"{config.test or config.images}: {reason}, so the gate cannot check the limit of pixel AP "
        f"({config.limits.pixel_ap:g}). Add masks, or waive this limit with --no-pixel-limit: int8 "
        "may then lose localisation without notice."
    )


def _warn_of_coarse_auroc(eval_set: EvalSet, limits: GateLimits) -> None:
    """Log a warning when a single change of rank loses more AUROC than is allowed."""
    anomalous = int(eval_set.anomalous.sum())
    normal = len(eval_set.samples) - anomalous
    if eval_set.samples and limits.image_auroc * normal * anomalous < 1:
        _log.warning(
            "with %d normal and %d anomalous images image AUROC moves in steps of %.4f, and the "
            "limit is %g: the gate fails with the first pair that changes its order; add images",
            *(normal, anomalous, 1 / (normal * anomalous), limits.image_auroc),
        )


def _result_cache(
    config: CalibrationConfig,
    graph: GraphIndex,
    images: CalibrationSet | None,
    eval_set: EvalSet,
) -> ResultCache:
    tables = (config.ranges, config.read_cache, *config.merge)
    parts = [
        graph.sha256,
        config.target,
        config.overrides,
        [(path, file_state(path)) for path in tables if path],
        (images.sha256(), images.seed, sorted(images.anomalous)) if images else None,
        eval_set.kind,
        eval_set.sha256(),
        versions(),
    ]
    return ResultCache(config.cache_path, identity(parts), resume=config.resume)


def _check_placement(evaluator: CandidateEvaluator, method: str) -> None:
    placement = evaluator.placement(Candidate(method))
    if not placement.weights:
        rules = sorted({decision.rule for decision in placement.decisions if decision.block})
        raise UsageError(
            f"{evaluator.graph.name}: nothing is left to quantize ({'; '.join(rules)}). "
            "Drop --exclude, or name nodes with --include."
        )


def _thresholds(
    config: CalibrationConfig, evaluator: CandidateEvaluator, on_progress: OnProgress
) -> ThresholdCheck | None:
    """Prepare thresholds from parts that were not trained on, with fp32's guarantee."""
    if config.images is None:
        return None
    images = threshold_images(
        config.images,
        evaluator.graph.manifest,
        limit=config.samples,
        part_id=config.part_id,
        how=config.parts_from,
    )
    if images is None:
        return None
    sidecar = load_sidecar(config.engine)
    fp32 = sidecar.threshold if sidecar else None
    guarantee = Guarantee(config.false_alarm_rate, config.confidence)
    if fp32 is not None:
        guarantee = Guarantee(fp32.false_alarm_rate, fp32.confidence)
    return ThresholdCheck(
        evaluator,
        images,
        guarantee,
        fp32.by if fp32 else "part",
        fp32,
        _parts_of_samples(config, evaluator.eval_set),
        on_progress,
    )


def _parts_of_samples(config: CalibrationConfig, eval_set: EvalSet) -> dict[Path, str]:
    """Return the part of each normal image of the gate; the options for parts are for `images`."""
    if config.test is not None:
        return parts_of_samples(eval_set, config.test, None, None)
    return parts_of_samples(eval_set, config.images, config.part_id, config.parts_from)


def _search(
    config: CalibrationConfig,
    evaluator: CandidateEvaluator,
    thresholds: ThresholdCheck | None,
    methods: Sequence[str],
    report: dict[str, Any] | None,
    on_progress: OnProgress,
) -> CalibrationResult:
    """Search with the gate; without one take the only method as it is."""
    if not config.gate:
        precision: Precision = "fp16" if evaluator.fp16_model else "fp32"
        candidate = Candidate(methods[0], float_precision=precision)
        return CalibrationResult(evaluator, candidate, None, report)
    search = PlacementSearch(
        evaluator=evaluator,
        limits=config.limits,
        costs=block_costs(evaluator.graph),
        max_float=config.max_float if config.fall_back else 0.0,
        images=config.sensitivity_images,
        on_progress=on_progress,
        alarms=thresholds.alarms if thresholds else lambda candidate: None,
    ).run(methods)
    warn_of_broken_guarantee(search.best.gate.alarms, config.limits.significance)
    if thresholds and thresholds.stored:
        thresholds.warn_of_weaker_guarantee(search.best.candidate)
    return CalibrationResult(evaluator, search.best.candidate, search, report)


def _compare(
    config: CalibrationConfig,
    result: CalibrationResult,
    other_precisions: Mapping[Precision, onnx.ModelProto],
) -> PrecisionComparison:
    evaluator = result.evaluator
    models = {"fp32": evaluator.fp32_model, **other_precisions}
    models["int8"] = evaluator.model(result.candidate)
    known: dict[Precision, GateResult] = {"int8": result.gate} if result.gate else {}
    return compare_precisions(evaluator, models, known, config.limits, margin=config.margin)
