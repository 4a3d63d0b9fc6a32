"""Compile typed ONNX to a plan with the installed TensorRT, and record how it was built.

One path serves TensorRT 10.3, 10.16, 11 and TensorRT-RTX: networks are strongly typed, without
precision flags or calibrators, and features are checked for before they are used. TensorRT needs
the GPU it builds for; TensorRT-RTX builds on any machine.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge_ad
from edge_ad.clock import now_utc
from edge_ad.engine.tensorrt.preflight import gpu_here
from edge_ad.engine.tensorrt.runtimes import (
    TensorRT,
    first_error,
    installed,
    is_out_of_memory,
    load,
    make_logger,
)
from edge_ad.errors import EdgeAdError, IncompatibleError, OutletLost, UsageError
from edge_ad.export.plan.config import TimingCache, batch_profile, configure
from edge_ad.export.plan.network import parse
from edge_ad.export.plan.progress import BuildInterrupt, OnProgress, monitor
from edge_ad.export.plan.source import OnnxSource, read_source
from edge_ad.files import replacing
from edge_ad.machine.host import read_jetson
from edge_ad.manifest import Sidecar, Threshold
from edge_ad.plan_record import (
    NAMES,
    BuildOptions,
    BuildRecord,
    NoGpu,
    Runtime,
    TargetGpu,
    build_command,
)
from edge_ad.sidecar import load_sidecar, save_sidecar

_DEFAULT_OPTIONS = BuildOptions()


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan on disk, its sidecar, and notes for the user."""

    plan: Path
    sidecar: Sidecar
    seconds: float
    notes: tuple[str, ...]


def build_plan(
    onnx: Path,
    plan: Path,
    options: BuildOptions = _DEFAULT_OPTIONS,
    *,
    runtime: Runtime | None = None,
    timing_cache: Path | None = None,
    on_progress: OnProgress = lambda share, phase: None,
) -> BuiltPlan:
    """Compile an ONNX file to a plan with its sidecar, replacing earlier ones of that name.

    Takes seconds to minutes. Raises UsageError for options that do not fit, IncompatibleError for
    graphs that TensorRT refuses, OutletLost if the plan cannot be written; then nothing is changed.
    """
    if plan.suffix != ".plan":
        raise UsageError(f"{plan}: the name of a plan ends in .plan, by which `run` recognises it.")
    began = time.perf_counter()
    source = read_source(onnx)
    runtime = runtime or choose_runtime()
    trt = load(runtime)
    record = _record(trt, source, runtime, options)
    data = _compile(trt, source, record, timing_cache, on_progress)
    record = record.replace(plan_bytes=len(data))
    threshold, note = _threshold(source, plan)
    sidecar = _write(plan, data, source, record, threshold)
    notes = (*_stored_weights_note(source), note)
    return BuiltPlan(plan, sidecar, time.perf_counter() - began, notes)


def rename_plan(built: BuiltPlan, onnx: Path, plan: Path) -> BuiltPlan:
    """Copy a plan to another name, with the threshold known for that name."""
    source, record = read_source(onnx), built.sidecar.build
    assert record is not None
    threshold, note = _threshold(source, plan)
    sidecar = _write(plan, built.plan.read_bytes(), source, record, threshold)
    return BuiltPlan(plan, sidecar, built.seconds, (*_stored_weights_note(source), note))


def _stored_weights_note(source: OnnxSource) -> tuple[str, ...]:
    if not source.stored_weights:
        return ()
    return (
        f"weights stored in 8 bits ({source.stored_weights}) were multiplied out to fp32 for the "
        "plan; the file is unchanged",
    )


def choose_runtime() -> Runtime:
    """Return the installed runtime, or if both are, TensorRT where there is a GPU."""
    usable = installed()
    if not usable:
        raise IncompatibleError(f"There is no TensorRT to build with:{_load_errors()}")
    if "tensorrt" in usable and ("tensorrt-rtx" not in usable or isinstance(gpu_here(), TargetGpu)):
        return "tensorrt"
    return "tensorrt-rtx"


def _load_errors() -> str:
    """Return why neither runtime can be used."""
    errors = []
    for runtime in NAMES:
        try:
            load(runtime)
        except IncompatibleError as error:
            errors.append(str(error))
    return "".join(f"\n  {error}" for error in errors)


def _record(
    trt: TensorRT, source: OnnxSource, runtime: Runtime, options: BuildOptions
) -> BuildRecord:
    gpu, jetson = gpu_here(), read_jetson()
    if isinstance(gpu, NoGpu) and runtime == "tensorrt":
        raise IncompatibleError(
            f"TensorRT builds on the GPU that will run the plan, and here {gpu.reason}. Build "
            "on that machine, or with --runtime tensorrt-rtx, which needs no GPU."
        )
    target = gpu if isinstance(gpu, TargetGpu) else TargetGpu("", "", "", "", 0)
    return BuildRecord(
        runtime=runtime,
        version=trt.__version__,
        onnx=source.path.name,
        onnx_sha256=source.sha256,
        plan_bytes=1,
        options=options.replace(batch=batch_profile(source, options)),
        gpu=target.name,
        compute_capability=target.compute_capability,
        cuda=target.cuda,
        driver=target.driver,
        jetpack=f"{jetson.jetpack} (L4T {jetson.l4t})" if jetson else "",
        edge_ad=edge_ad.__version__,
        created_utc=now_utc("seconds"),
    )


def _compile(
    trt: TensorRT,
    source: OnnxSource,
    record: BuildRecord,
    timing_cache: Path | None,
    on_progress: OnProgress,
) -> bytes:
    logger = make_logger(trt)
    with BuildInterrupt() as interrupt:
        builder = _builder(trt, logger)
        network = parse(trt, builder, logger, source)
        config = configure(trt, builder, source, record.runtime, record.options)
        cache = TimingCache(timing_cache, config, record) if timing_cache else None
        progress = monitor(trt, on_progress, interrupt)  # named: it must live as long as the build
        config.progress_monitor = progress
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _build_error(source, record, logger.errors)
    if cache is not None:
        cache.save()
    return bytes(plan)


def _builder(trt: TensorRT, logger: Any) -> Any:
    """Return a builder; TensorRT raises a bare TypeError when it cannot create one."""
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError) as error:
        raise IncompatibleError(
            f"TensorRT {trt.__version__} cannot create a builder: {first_error(logger.errors)}. "
            "Check the driver with: edge-ad doctor"
        ) from error


def _build_error(source: OnnxSource, record: BuildRecord, errors: list[str]) -> EdgeAdError:
    reason = first_error(errors)
    fix = "Run with --debug for its full log."
    if "workspace" in reason.lower() and record.options.workspace_mib:
        fix = f"Give it more than --workspace-mib {record.options.workspace_mib}."
    elif is_out_of_memory(reason):
        fix = "Close other programs on the GPU, or lower --batch or --workspace-mib."
    name = f"{NAMES[record.runtime]} {record.version}"
    return IncompatibleError(f"{name} cannot build {source.path}: {reason}. {fix}")


def _threshold(source: OnnxSource, plan: Path) -> tuple[Threshold | None, str]:
    """Return the threshold of the new plan, and a note about where it came from.

    An earlier plan of the same graph comes first. A plan of another graph, or one that does not
    match its sidecar, does not count.
    """
    for engine in (plan, source.path):
        try:
            sidecar = load_sidecar(engine) if engine.exists() else None
        except IncompatibleError:
            continue
        same = engine == source.path or (
            sidecar is not None and sidecar.build and sidecar.build.onnx_sha256 == source.sha256
        )
        if sidecar and sidecar.threshold and same:
            return sidecar.threshold, f"threshold carried over from {engine.name}"
    return None, f"no threshold yet: edge-ad threshold {plan} --images GOOD_DIR"


def _write(
    plan: Path, data: bytes, source: OnnxSource, record: BuildRecord, threshold: Threshold | None
) -> Sidecar:
    """Write both files before either gets its name; a crash in between leaves a refused pair."""
    batch = record.options.batch
    fixed = batch[0] if batch and batch[0] == batch[2] else source.manifest.batch
    sidecar = Sidecar(
        engine_sha256=hashlib.sha256(data).hexdigest(),
        threshold=threshold,
        manifest=source.manifest.replace(batch=fixed),
        build=record,
    )
    try:
        with replacing(plan) as temporary:
            temporary.write_bytes(data)
            save_sidecar(plan, sidecar)
    except OSError as error:
        command = build_command(source.path, plan, record.options, record.runtime)
        raise OutletLost(
            f"{plan} cannot be written ({error.strerror}). No file was written. Free space or "
            f"choose another folder, then run: {command}"
        ) from error
    return sidecar
