"""Build a plan of every precision, measure them on this GPU and keep the fastest.

Accuracy was checked when the files were made: `convert` compares fp16 with fp32, `calibrate`
writes int8 that passed its gate. Here speed is measured, and the output of each plan must still
match the fp32 plan's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.bench.engine_calls import fastest, time_in_turn
from edge_ad.engine import Engine, open_engine
from edge_ad.engine.tensorrt.preflight import gpu_here
from edge_ad.errors import GateFailed, IncompatibleError, UsageError
from edge_ad.export.comparison_frames import generated_frames
from edge_ad.export.parity import compare
from edge_ad.export.plan.build import BuiltPlan, build_plan, rename_plan
from edge_ad.export.plan.progress import OnProgress
from edge_ad.export.plan.source import read_source
from edge_ad.export.verification import predict, tolerance_between
from edge_ad.plan_record import BuildOptions, NoGpu, Runtime
from edge_ad.precision import PRECISIONS, Precision

MARGIN = 0.05  # a precision must be this much faster than the simpler ones to be kept
_RUNS, _FRAMES = 200, 8

Plans = Mapping[Precision, Path]


@dataclass(frozen=True, slots=True)
class PlanComparison:
    """Milliseconds an image of each plan, and the problems of those that cannot be kept."""

    ms: dict[Precision, float]
    problems: dict[Precision, str]

    @property
    def winner(self) -> Precision:
        """The simplest precision without a problem that no other beats by the margin."""
        fit = {name: ms for name, ms in self.ms.items() if name not in self.problems}
        return fastest(fit, MARGIN)

    def as_json(self) -> dict[str, Any]:
        """Return the winner, its speed against fp32, all times and all problems."""
        return {
            "winner": self.winner,
            "times_faster_than_fp32": self.ms["fp32"] / self.ms[self.winner],
            "ms": self.ms,
            "problems": self.problems,
        }

    def __str__(self) -> str:
        times = ", ".join(f"{name} {ms:.3f} ms" for name, ms in self.ms.items())
        gain = self.ms["fp32"] / self.ms[self.winner]
        result = f"fastest: {self.winner}, {gain:.2f} times as fast as fp32: {times} an image"
        excluded = [f"{name} is excluded: {why}" for name, why in self.problems.items()]
        return "; ".join([result, *excluded])


@dataclass(frozen=True, slots=True)
class PrecisionFiles:
    """The fp32 file and the files made from it; `missing` names the others and how to make them."""

    files: dict[Precision, Path]
    missing: tuple[str, ...]


def check_can_measure(onnx: Path) -> None:
    """Raise IncompatibleError where there is no GPU to measure speed on."""
    if isinstance(gpu := gpu_here(), NoGpu):
        raise IncompatibleError(
            f"--precision auto measures on the GPU that will run the plan, and here {gpu.reason}. "
            "Run the same command there, or build one file, as in: edge-ad build "
            f"{_sibling(onnx, 'fp16')}"
        )


def find_precisions(onnx: Path) -> PrecisionFiles:
    """Find the files of other precisions beside an fp32 file; raises UsageError for any other."""
    source = read_source(onnx)
    if source.manifest.precision != "fp32":
        raise UsageError(
            f"{onnx} is {source.manifest.precision}: --precision auto starts from the fp32 file "
            "that the others were made from. Give that one."
        )
    commands: dict[Precision, str] = {
        "fp16": f"edge-ad convert {onnx} --precision fp16 -o {_sibling(onnx, 'fp16')}",
        "int8": f"edge-ad calibrate {onnx} --images GOOD_DIR --target tensorrt "
        f"-o {_sibling(onnx, 'int8')}",
    }
    files: dict[Precision, Path] = {"fp32": onnx}
    missing = []
    for precision, command in commands.items():
        if problem := _problem(_sibling(onnx, precision), source.sha256):
            missing.append(f"{precision} was not measured: {problem}; make it with: {command}")
        else:
            files[precision] = _sibling(onnx, precision)
    return PrecisionFiles(files, tuple(missing))


def build_fastest(
    candidates: PrecisionFiles,
    plan: Path,
    options: BuildOptions,
    *,
    runtime: Runtime | None = None,
    timing_cache: Path | None = None,
    on_progress: OnProgress = lambda share, phase: None,
) -> tuple[BuiltPlan, PlanComparison]:
    """Build a plan of each file, and keep the fastest whose output matches fp32's.

    Raises as `build_plan` and `open_engine` do; then nothing is changed.
    """
    plan.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{plan.stem}-", dir=plan.parent) as name:
        built = {
            precision: build_plan(
                onnx,
                Path(name) / f"{precision}.plan",
                options,
                runtime=runtime,
                timing_cache=timing_cache,
                on_progress=on_progress,
            )
            for precision, onnx in candidates.files.items()
        }
        comparison = compare_on_gpu({name: result.plan for name, result in built.items()})
        winner = comparison.winner
        kept = rename_plan(built[winner], candidates.files[winner], plan)
    return kept, comparison


def compare_on_gpu(plans: Plans) -> PlanComparison:
    """Open all plans, compare the output of each with fp32's, and time them in turn."""
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(open_engine(plans[name]))
            for name in PRECISIONS
            if name in plans
        }
        manifest = engines["fp32"].manifest
        problems = _output_problems(engines)
        if "fp32" in problems:
            raise GateFailed(f"the fp32 plan itself is not usable: {problems['fp32']}")
        count = manifest.batch or manifest.geometry.tile_count
        images = generated_frames(manifest.size_hw, count, seed=1)
        return PlanComparison(time_in_turn(engines, images, _RUNS), problems)


def _output_problems(engines: Mapping[Precision, Engine]) -> dict[Precision, str]:
    """Return, by precision, how an engine's output differs from fp32's beyond the tolerance."""
    manifest = engines["fp32"].manifest
    frames = generated_frames(manifest.size_hw, _FRAMES)
    reference = predict(engines["fp32"], frames)
    problems: dict[Precision, str] = {}
    for name, engine in engines.items():
        try:
            agreement = compare(reference, predict(engine, frames))
        except GateFailed as error:
            problems[name] = str(error)
            continue
        if not agreement.within(tolerance_between(manifest, engine.manifest)):
            problems[name] = str(agreement)
    return problems


def _sibling(onnx: Path, precision: Precision) -> Path:
    """Return part.fp16.onnx for part.onnx or part.fp32.onnx."""
    return onnx.with_name(f"{onnx.stem.removesuffix('.fp32')}.{precision}.onnx")


def _problem(path: Path, parent_sha256: str) -> str:
    """Return why the file cannot be used; empty when it can."""
    if not path.is_file():
        return f"there is no {path.name}"
    try:
        manifest = read_source(path).manifest
    except IncompatibleError:
        return f"{path.name} is not readable"
    if manifest.provenance.parent_sha256 != parent_sha256:
        return f"{path.name} was made from another file"
    if manifest.provenance.notes.get("int8 target", "tensorrt") != "tensorrt":
        return f"{path.name} was calibrated for ONNX Runtime"
    return ""
