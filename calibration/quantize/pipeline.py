"""From an fp32 engine and images of good parts to an int8 engine that passed the gate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import onnx

from edge_ad.calibration.quantize.block_costs import block_costs
from edge_ad.calibration.quantize.comparison import Contest, hold_contest
from edge_ad.calibration.quantize.config import Order, Tell
from edge_ad.calibration.quantize.engine_file import save_int8
from edge_ad.calibration.quantize.eval_set import Exam, affordable, labelled_exam, synthetic_exam
from edge_ad.calibration.quantize.evaluator import Candidate, Notebook, Trials, identity
from edge_ad.calibration.quantize.gate import Limits, Verdict
from edge_ad.calibration.quantize.placement import place
from edge_ad.calibration.quantize.search import Found, Search
from edge_ad.calibration.quantize.threshold_check import Thresholds, warn_of_broken_promise
from edge_ad.calibration.ranges.checkpoint import PassFile
from edge_ad.calibration.ranges.collect import Collected, Progress, collect
from edge_ad.calibration.ranges.dataset_report import survey
from edge_ad.calibration.ranges.image_set import ImageSet, choose
from edge_ad.calibration.ranges.methods import methods_named
from edge_ad.calibration.ranges.table import RangeTable, check_fits, load_table, merge, save_table
from edge_ad.calibration.ranges.trt_cache import header, save_cache, table_from_cache
from edge_ad.calibration.thresholds.estimate import Promise
from edge_ad.dataset import good_images, labelled_images
from edge_ad.errors import DataError, UsageError
from edge_ad.manifest import Manifest, Precision, Threshold, load_sidecar, set_threshold
from edge_ad.onnx_graph.index import Graph, load_graph

ToHalf: TypeAlias = Callable[[onnx.ModelProto, Manifest], onnx.ModelProto]
_log = logging.getLogger(__name__)
_OWN_GATE = 32  # good images outside the calibration set that are enough for the gate


@dataclass(frozen=True)
class Outcome:
    """What a calibration came to; `found` is None without a gate, `survey` without images."""

    trials: Trials
    candidate: Candidate
    found: Found | None
    survey: dict[str, Any] | None
    threshold: Threshold | None = None
    contest: Contest | None = None
    written: bool = False

    @property
    def passed(self) -> bool:
        return self.found is None or self.found.best.verdict.passed


def calibrate(
    order: Order,
    tell: Tell,
    rivals: Mapping[Precision, onnx.ModelProto] | None = None,
    to_half: ToHalf | None = None,
) -> Outcome:
    """Find the int8 graph that passes the gate and write it, with its range table beside it.

    When none passes only the table is written; the outcome says so and why. With `rivals`, graphs
    of other precisions, int8 must also be the fastest by `order.margin`. `to_half` makes the fp16
    graph in which the rest is computed, if that passes too. Raises as `load_graph`, `good_images`,
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
    trials = Trials(graph, table, exam, order.wanted, notebook, half=half, threads=order.threads)
    _check_placement(trials, methods[0])
    thresholds = _thresholds(order, trials, images, tell)
    found = _search(order, trials, thresholds, tell).run(methods) if order.gate else None
    unexamined = Candidate(methods[0], rest="fp16" if half else "fp32")
    candidate = found.best.candidate if found else unexamined
    warn_of_broken_promise(found.best.alarms if found else None, order.limits.chance)
    outcome = Outcome(trials, candidate, found, looked)
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


def _check(order: Order, methods: Sequence[str]) -> None:
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


def _images(order: Order) -> ImageSet | None:
    if order.images is None:
        return None
    paths = good_images(order.images)
    return choose(paths, samples=order.samples, seed=order.seed, synthetic=order.synthetic)


def _exam(order: Order, graph: Graph, images: ImageSet | None) -> Exam:
    """Labelled images, else good ones the ranges were not made from while there are enough."""
    manifest = graph.manifest
    if not order.gate:
        return Exam("none", (), manifest)
    limit = affordable(order.gate_images, manifest)
    if order.test is not None:
        return labelled_exam(labelled_images(order.test), manifest, limit=limit)
    assert order.images is not None and images is not None
    used = {*images.paths, *images.unreadable}
    others = [path for path in good_images(order.images) if path not in used]
    paths = others if len(others) >= _OWN_GATE else sorted(images.paths)
    return synthetic_exam(paths, manifest, limit=limit, seed=order.seed)


def _warn_of_steps(exam: Exam, limits: Limits) -> None:
    """Say so when a single change of rank loses more AUROC than is allowed."""
    anomalous = int(exam.anomalous.sum())
    normal = len(exam.questions) - anomalous
    if exam.questions and limits.image_auroc * normal * anomalous < 1:
        told = (
            "%d normal and %d anomalous images tell image AUROC in steps of %.4f, and the limit "
            "is %g: the gate fails with the first pair that changes its order; add images"
        )
        _log.warning(told, normal, anomalous, 1 / (normal * anomalous), limits.image_auroc)


def _notebook(order: Order, graph: Graph, images: ImageSet | None, exam: Exam) -> Notebook:
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
    return Notebook(order.notes_path, identity(parts), resume=order.resume)


def _table(
    order: Order,
    graph: Graph,
    images: ImageSet | None,
    exam: Exam,
    notebook: Notebook,
    tell: Tell,
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
        table = _resumed(order, graph, images) if notebook.knows("survey") else None
        if table is None:
            seen = _collected(graph, placement.tensors, order, images, tell)
            table = seen.table
            looked = survey(
                seen.views, seen.curve, unreadable=images.unreadable, test=exam.views
            ).as_json()
        looked = dict(notebook.get("survey", lambda: looked))
        names, tables = [str(order.images)], [table]
    names += [str(path) for path in order.merge]
    tables += [load_table(path) for path in order.merge]
    for name, one in zip(names, tables, strict=True):
        check_fits(one, graph, placement, name)
    return merge(tables, names), looked


def _collected(
    graph: Graph, tensors: Sequence[str], order: Order, images: ImageSet, tell: Tell
) -> Collected:
    """The pass over the images, or the rest of one that was interrupted."""
    parts = (graph.sha256, order.target, tensors, images.sha256(), images.seed)
    kept = PassFile(order.pass_path, identity([*parts, sorted(images.damaged)]))

    def seen(progress: Progress) -> None:
        tell("collecting ranges", len(progress.views), len(images))
        kept.keep(progress)

    start = kept.load(images) if order.resume else None
    return collect(
        graph, tensors, order.target, images, seen=seen, start=start, threads=order.threads
    )


def _resumed(order: Order, graph: Graph, images: ImageSet) -> RangeTable | None:
    """The table an interrupted run wrote from these very images, if there is one."""
    if order.merge or not order.table_path.exists():
        return None
    try:
        table = load_table(order.table_path)
    except DataError:
        return None
    same = [found.sha256 for found in table.sets] == [images.sha256()]
    return table if same and table.model.sha256 == graph.sha256 else None


def _check_placement(trials: Trials, method: str) -> None:
    placement = trials.placement(Candidate(method))
    if not placement.weights:
        rules = sorted({decision.rule for decision in placement.decisions if decision.block})
        raise UsageError(
            f"{trials.graph.name}: nothing is left to quantize ({'; '.join(rules)}). "
            "Drop --exclude, or name nodes with --include."
        )


def _thresholds(
    order: Order, trials: Trials, images: ImageSet | None, tell: Tell
) -> Thresholds | None:
    """From the good images of the calibration set, by the promise fp32's own threshold gives."""
    if images is None:
        return None
    sidecar = load_sidecar(order.engine)
    known = sidecar.threshold if sidecar else None
    promise = Promise(order.false_alarm_rate, order.confidence)
    if known:
        promise = Promise(known.false_alarm_rate, known.confidence)
    return Thresholds(trials, sorted(images.paths), promise, tell)


def _contest(
    order: Order, outcome: Outcome, rivals: Mapping[Precision, onnx.ModelProto]
) -> Contest:
    trials = outcome.trials
    models: dict[Precision, onnx.ModelProto] = {"fp32": trials.graph.model, **rivals}
    models["int8"] = trials.model(outcome.candidate)
    known: dict[Precision, Verdict] = {}
    if outcome.found:
        known["int8"] = outcome.found.best.verdict
    return hold_contest(trials, models, known, order.limits, margin=order.margin)


def _search(order: Order, trials: Trials, thresholds: Thresholds | None, tell: Tell) -> Search:
    return Search(
        trials=trials,
        limits=order.limits,
        costs=block_costs(trials.graph),
        most_float=order.most_float if order.fall_back else 0.0,
        images=order.sensitivity_images,
        tell=tell,
        alarms=thresholds.alarms if thresholds else lambda candidate: None,
    )
