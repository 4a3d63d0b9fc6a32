"""From an fp32 engine and images of good parts to an int8 engine that passed the gate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import onnx

from edge_ad.calibration.quantize.block_costs import block_costs
from edge_ad.calibration.quantize.comparison import PrecisionComparison, compare_precisions
from edge_ad.calibration.quantize.config import CalibrationConfig, OnProgress
from edge_ad.calibration.quantize.engine_file import save_int8
from edge_ad.calibration.quantize.eval_set import (
    EvalSet,
    affordable,
    labelled_eval_set,
    synthetic_eval_set,
)
from edge_ad.calibration.quantize.evaluator import (
    Candidate,
    CandidateEvaluator,
    ResultCache,
    identity,
)
from edge_ad.calibration.quantize.gate import GateLimits, GateResult
from edge_ad.calibration.quantize.placement import place
from edge_ad.calibration.quantize.search import PlacementSearch, SearchResult
from edge_ad.calibration.quantize.threshold_check import ThresholdCheck, warn_of_broken_promise
from edge_ad.calibration.ranges.checkpoint import RangeCheckpoint
from edge_ad.calibration.ranges.collect import CollectedRanges, RangeProgress, collect
from edge_ad.calibration.ranges.dataset_report import dataset_report
from edge_ad.calibration.ranges.image_set import ImageSet, choose
from edge_ad.calibration.ranges.methods import methods_named
from edge_ad.calibration.ranges.table import RangeTable, check_fits, load_table, merge, save_table
from edge_ad.calibration.ranges.trt_cache import header, save_cache, table_from_cache
from edge_ad.calibration.thresholds.estimate import Guarantee
from edge_ad.dataset import labelled_images, normal_images
from edge_ad.errors import DataError, UsageError
from edge_ad.manifest import Manifest, Threshold, load_sidecar, set_threshold
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from edge_ad.precision import Precision

ToFp16: TypeAlias = Callable[[onnx.ModelProto, Manifest], onnx.ModelProto]
_log = logging.getLogger(__name__)
_OWN_GATE = 32  # good images outside the calibration set that are enough for the gate


@dataclass(frozen=True)
class CalibrationResult:
    """Hold what a calibration produced; `found` is None without a gate."""

    trials: CandidateEvaluator
    candidate: Candidate
    found: SearchResult | None
    dataset_report: dict[str, Any] | None
    threshold: Threshold | None = None
    contest: PrecisionComparison | None = None
    written: bool = False

    @property
    def passed(self) -> bool:
        return self.found is None or self.found.best.verdict.passed


def calibrate(
    order: CalibrationConfig,
    tell: OnProgress,
    rivals: Mapping[Precision, onnx.ModelProto] | None = None,
    to_half: ToFp16 | None = None,
) -> CalibrationResult:
    """Find the int8 graph that passes the gate and write it, with its range table beside it.

    When none passes only the table is written; the outcome says so and why. With `rivals`, graphs
    of other precisions, int8 must also be the fastest by `order.margin`. `to_half` makes the fp16
    graph in which the rest is computed, if that passes too. Raises as `load_graph`, `normal_images`
    `labelled_images` and `load_table` do for bad input.
    """
    graph = load_graph(order.engine)
    methods = methods_named(order.method)
    _check(order, methods)
    images = _images(order)
    exam = _exam(order, graph, images)
    _warn_of_steps(exam, order.limits)
    notebook = _notebook(order, graph, images, exam)
    table, looked = _table(order, graph, images, exam, notebook, tell)
    save_table(table, order.table_path)
    order.pass_path.unlink(missing_ok=True)
    half = to_half(graph.model, graph.manifest) if to_half else None
    trials = CandidateEvaluator(
        graph, table, exam, order.wanted, notebook, half=half, threads=order.threads
    )
    _check_placement(trials, methods[0])
    thresholds = _thresholds(order, trials, images, tell)
    found = _search(order, trials, thresholds, tell).run(methods) if order.gate else None
    unexamined = Candidate(methods[0], rest="fp16" if half else "fp32")
    candidate = found.best.candidate if found else unexamined
    warn_of_broken_promise(found.best.alarms if found else None, order.limits.chance)
    outcome = CalibrationResult(trials, candidate, found, looked)
    if rivals is not None:
        tell("comparing precisions", 0, 1)
        outcome = replace(outcome, contest=_contest(order, outcome, rivals))
    if not outcome.passed:
        return outcome
    if outcome.contest and outcome.contest.winner.precision != "int8":
        notebook.drop()
        return outcome
    threshold = thresholds.of(candidate) if thresholds else None
    tell("writing", 0, 1)
    save_int8(trials, candidate, order.out)
    if threshold:
        set_threshold(order.out, threshold)
    if order.write_cache:
        save_cache(trials.ranges(candidate), order.write_cache, order.cache_version)
    notebook.drop()
    return replace(outcome, threshold=threshold, written=True)


def _check(order: CalibrationConfig, methods: Sequence[str]) -> None:
    if not order.gate and len(methods) > 1:
        raise UsageError(
            f"--method {order.method} lets the gate choose: name one method, or drop --no-gate."
        )
    if not (order.images or order.ranges or order.read_cache):
        raise UsageError("ranges need images or a table: give --images GOOD_DIR or --ranges TABLE.")
    if order.ranges and order.read_cache:
        raise UsageError("--ranges and --read-cache exclude each other; give one.")
    if order.target != "tensorrt" and (order.read_cache or order.write_cache):
        raise UsageError("calibration caches are TensorRT's: they need --target tensorrt.")
    header(order.cache_version)
    if order.gate and order.images is None and order.test is None:
        raise UsageError("the gate needs images: give --test DIR or --images GOOD_DIR.")


def _images(order: CalibrationConfig) -> ImageSet | None:
    if order.images is None:
        return None
    paths = normal_images(order.images)
    return choose(paths, samples=order.samples, seed=order.seed, synthetic=order.synthetic)


def _exam(order: CalibrationConfig, graph: GraphIndex, images: ImageSet | None) -> EvalSet:
    """Labelled images, else good ones the ranges were not made from while there are enough."""
    manifest = graph.manifest
    if not order.gate:
        return EvalSet("none", (), manifest)
    limit = affordable(order.gate_images, manifest)
    if order.test is not None:
        return labelled_eval_set(labelled_images(order.test), manifest, limit=limit)
    assert order.images is not None and images is not None
    used = {*images.paths, *images.unreadable}
    others = [path for path in normal_images(order.images) if path not in used]
    paths = others if len(others) >= _OWN_GATE else sorted(images.paths)
    return synthetic_eval_set(paths, manifest, limit=limit, seed=order.seed)


def _warn_of_steps(exam: EvalSet, limits: GateLimits) -> None:
    """Say so when a single change of rank loses more AUROC than is allowed."""
    anomalous = int(exam.anomalous.sum())
    normal = len(exam.questions) - anomalous
    if exam.questions and limits.image_auroc * normal * anomalous < 1:
        told = (
            "%d normal and %d anomalous images tell image AUROC in steps of %.4f, and the limit "
            "is %g: the gate fails with the first pair that changes its order; add images"
        )
        _log.warning(told, normal, anomalous, 1 / (normal * anomalous), limits.image_auroc)


def _notebook(
    order: CalibrationConfig, graph: GraphIndex, images: ImageSet | None, exam: EvalSet
) -> ResultCache:
    parts = [
        graph.sha256,
        order.target,
        order.wanted,
        order.ranges,
        order.read_cache,
        order.merge,
        (images.sha256(), images.seed, sorted(images.damaged)) if images else None,
        exam.kind,
        [question.path for question in exam.questions],
    ]
    return ResultCache(order.notes_path, identity(parts), resume=order.resume)


def _table(
    order: CalibrationConfig,
    graph: GraphIndex,
    images: ImageSet | None,
    exam: EvalSet,
    notebook: ResultCache,
    tell: OnProgress,
) -> tuple[RangeTable, dict[str, Any] | None]:
    """The ranges to use, and what was seen of the images on the way."""
    placement = place(graph, order.target, order.wanted)
    looked: dict[str, Any] | None = None
    if order.ranges is not None:
        names, tables = [str(order.ranges)], [load_table(order.ranges)]
    elif order.read_cache is not None:
        names, tables = [str(order.read_cache)], [table_from_cache(order.read_cache, graph)]
    else:
        assert images is not None
        table = _resumed(order, graph, images) if notebook.knows("dataset_report") else None
        if table is None:
            seen = _collected(graph, placement.tensors, order, images, tell)
            table = seen.table
            looked = dataset_report(
                seen.views, seen.curve, unreadable=images.unreadable, test=exam.views
            ).as_json()
        looked = dict(notebook.get("dataset_report", lambda: looked))
        names, tables = [str(order.images)], [table]
    names += [str(path) for path in order.merge]
    tables += [load_table(path) for path in order.merge]
    for name, one in zip(names, tables, strict=True):
        check_fits(one, graph, placement, name)
    return merge(tables, names), looked


def _collected(
    graph: GraphIndex,
    tensors: Sequence[str],
    order: CalibrationConfig,
    images: ImageSet,
    tell: OnProgress,
) -> CollectedRanges:
    """The pass over the images, or the rest of one that was interrupted."""
    parts = (graph.sha256, order.target, tensors, images.sha256(), images.seed)
    kept = RangeCheckpoint(order.pass_path, identity([*parts, sorted(images.damaged)]))

    def seen(progress: RangeProgress) -> None:
        tell("collecting ranges", len(progress.views), len(images))
        kept.keep(progress)

    start = kept.load(images) if order.resume else None
    return collect(
        graph, tensors, order.target, images, seen=seen, start=start, threads=order.threads
    )


def _resumed(order: CalibrationConfig, graph: GraphIndex, images: ImageSet) -> RangeTable | None:
    """The table an interrupted run wrote from these very images, if there is one."""
    if order.merge or not order.table_path.exists():
        return None
    try:
        table = load_table(order.table_path)
    except DataError:
        return None
    same = [found.sha256 for found in table.sets] == [images.sha256()]
    return table if same and table.model.sha256 == graph.sha256 else None


def _check_placement(trials: CandidateEvaluator, method: str) -> None:
    placement = trials.placement(Candidate(method))
    if not placement.weights:
        rules = sorted({decision.rule for decision in placement.decisions if decision.block})
        raise UsageError(
            f"{trials.graph.name}: nothing is left to quantize ({'; '.join(rules)}). "
            "Drop --exclude, or name nodes with --include."
        )


def _thresholds(
    order: CalibrationConfig, trials: CandidateEvaluator, images: ImageSet | None, tell: OnProgress
) -> ThresholdCheck | None:
    """From the good images of the calibration set, by the promise fp32's own threshold gives."""
    if images is None:
        return None
    sidecar = load_sidecar(order.engine)
    known = sidecar.threshold if sidecar else None
    promise = Guarantee(order.false_alarm_rate, order.confidence)
    if known:
        promise = Guarantee(known.false_alarm_rate, known.confidence)
    return ThresholdCheck(trials, sorted(images.paths), promise, tell)


def _contest(
    order: CalibrationConfig,
    outcome: CalibrationResult,
    rivals: Mapping[Precision, onnx.ModelProto],
) -> PrecisionComparison:
    trials = outcome.trials
    models: dict[Precision, onnx.ModelProto] = {"fp32": trials.graph.model, **rivals}
    models["int8"] = trials.model(outcome.candidate)
    known: dict[Precision, GateResult] = {}
    if outcome.found:
        known["int8"] = outcome.found.best.verdict
    return compare_precisions(trials, models, known, order.limits, margin=order.margin)


def _search(
    order: CalibrationConfig,
    trials: CandidateEvaluator,
    thresholds: ThresholdCheck | None,
    tell: OnProgress,
) -> PlacementSearch:
    return PlacementSearch(
        trials=trials,
        limits=order.limits,
        costs=block_costs(trials.graph),
        most_float=order.most_float if order.fall_back else 0.0,
        images=order.sensitivity_images,
        tell=tell,
        alarms=thresholds.alarms if thresholds else lambda candidate: None,
    )
