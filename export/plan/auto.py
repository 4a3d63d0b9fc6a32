"""`build --precision auto`: plans of every precision measured on this card, and the fastest kept.

What may be deployed was decided when the files were made: `convert` compares fp16 with fp32,
`calibrate` writes int8 that passed its gate. Here the card decides what is fast, and each plan must
still answer as the fp32 plan does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.bench import fastest, time_in_turn
from edge_ad.engine import open_engine
from edge_ad.engine.tensorrt.preflight import gpu_here
from edge_ad.errors import GateFailed, IncompatibleError, UsageError
from edge_ad.export.comparison_frames import generated
from edge_ad.export.parity import compare
from edge_ad.export.plan.build import BuiltPlan, build_plan, rename_plan
from edge_ad.export.plan.progress import Report
from edge_ad.export.plan.source import read_source
from edge_ad.export.verification import answers, tolerance_between
from edge_ad.plan_record import BuildOptions, NoGpu, Runtime
from edge_ad.precision import PRECISIONS, Precision

MARGIN = 0.05  # what a precision must gain on the simpler ones to be kept
_RUNS, _FRAMES = 200, 8

Plans = Mapping[Precision, Path]


@dataclass(frozen=True, slots=True)
class PlanComparison:
    """Milliseconds an image of each plan, and of those that may not be kept, why."""

    ms: dict[Precision, float]
    faults: dict[Precision, str]

    @property
    def winner(self) -> Precision:
        fit = {name: ms for name, ms in self.ms.items() if name not in self.faults}
        return fastest(fit, MARGIN)

    def as_json(self) -> dict[str, Any]:
        return {
            "winner": self.winner,
            "times_faster_than_fp32": self.ms["fp32"] / self.ms[self.winner],
            "ms": self.ms,
            "faults": self.faults,
        }

    def __str__(self) -> str:
        times = ", ".join(f"{name} {ms:.3f} ms" for name, ms in self.ms.items())
        gain = self.ms["fp32"] / self.ms[self.winner]
        told = f"{self.winner} it is, {gain:.2f} times as fast as fp32: {times} an image"
        return "; ".join([told, *(f"{name} is out: {why}" for name, why in self.faults.items())])


@dataclass(frozen=True, slots=True)
class Candidates:
    """The fp32 file and what was made from it; `missing` says what is not there, and its mend."""

    files: dict[Precision, Path]
    missing: tuple[str, ...]


def check_can_measure(onnx: Path) -> None:
    """Raise IncompatibleError where there is no card: speed is measured, never guessed."""
    if isinstance(gpu := gpu_here(), NoGpu):
        raise IncompatibleError(
            f"--precision auto measures on the card that will run the plan, and {gpu.reason}. Run "
            "the same line there; or choose by the file, as in: edge-ad build "
            f"{_sibling(onnx, 'fp16')}"
        )


def candidates(onnx: Path) -> Candidates:
    """The files of other precisions beside an fp32 one. Raises UsageError when it is not fp32."""
    source = read_source(onnx)
    if source.manifest.precision != "fp32":
        raise UsageError(
            f"{onnx} is {source.manifest.precision}: --precision auto starts from the fp32 file "
            "that the others were made from. Name that one."
        )
    makers: dict[Precision, str] = {
        "fp16": f"edge-ad convert {onnx} --precision fp16 -o {_sibling(onnx, 'fp16')}",
        "int8": f"edge-ad calibrate {onnx} --images GOOD_DIR --target tensorrt "
        f"-o {_sibling(onnx, 'int8')}",
    }
    files: dict[Precision, Path] = {"fp32": onnx}
    missing = []
    for precision, line in makers.items():
        if fault := _fault(_sibling(onnx, precision), source.sha256):
            missing.append(f"{precision} was not measured: {fault}; make it with: {line}")
        else:
            files[precision] = _sibling(onnx, precision)
    return Candidates(files, tuple(missing))


def build_fastest(
    found: Candidates,
    plan: Path,
    options: BuildOptions,
    *,
    runtime: Runtime | None = None,
    timing_cache: Path | None = None,
    report: Report = lambda share, phase: None,
) -> tuple[BuiltPlan, PlanComparison]:
    """Build a plan of each file, and keep the fastest that answers as fp32 does.

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
                report=report,
            )
            for precision, onnx in found.files.items()
        }
        race = compare_on_gpu({precision: one.plan for precision, one in built.items()})
        kept = rename_plan(built[race.winner], found.files[race.winner], plan)
    return kept, race


def compare_on_gpu(plans: Plans) -> PlanComparison:
    """Open all plans, compare each with fp32's answers, and time them in turn."""
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(open_engine(plans[name]))
            for name in PRECISIONS
            if name in plans
        }
        manifest = engines["fp32"].manifest
        frames = generated(manifest.size_hw, _FRAMES)
        wanted = answers(engines["fp32"], frames)
        faults: dict[Precision, str] = {}
        for name, engine in engines.items():
            try:
                found = compare(wanted, answers(engine, frames))
            except GateFailed as error:
                faults[name] = str(error)
                continue
            if not found.within(tolerance_between(manifest, engine.manifest)):
                faults[name] = str(found)
        if "fp32" in faults:
            raise GateFailed(f"the fp32 plan itself is not fit: {faults['fp32']}")
        count = manifest.batch or manifest.geometry.tile_count
        images = generated(manifest.size_hw, count, seed=1)
        return PlanComparison(time_in_turn(engines, images, _RUNS), faults)


def _sibling(onnx: Path, precision: Precision) -> Path:
    """part.onnx or part.fp32.onnx -> part.fp16.onnx."""
    return onnx.with_name(f"{onnx.stem.removesuffix('.fp32')}.{precision}.onnx")


def _fault(path: Path, parent_sha256: str) -> str:
    """Why the file is no candidate; empty when it is."""
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
