"""Build what only the device can build: TensorRT plans for its GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edge_ad.bundle.manifest import plan_name
from edge_ad.errors import IncompatibleError

BUILT = "built for "


def build_plans(
    folder: Path, names: Sequence[str], progress: Callable[[str], None]
) -> dict[str, str]:
    """Build a plan beside each ONNX file, and return by file what became of it.

    Without GPU or TensorRT the ONNX file is used, and the text says why. Raises what `build_plan`
    raises where there are both.
    """
    reason = _reason_against() if names else ""
    if reason:
        return dict.fromkeys(names, f"runs as ONNX: {reason}")
    return {name: _build(folder, name, progress) for name in names}


def _build(folder: Path, name: str, progress: Callable[[str], None]) -> str:
    from edge_ad.export.plan.build import build_plan

    progress(f"building {plan_name(name)} for the GPU; this takes minutes")
    built = build_plan(folder / name, folder / plan_name(name))
    record = built.sidecar.build
    assert record is not None
    return f"{BUILT}{record.gpu or 'this GPU'} by {record.runtime} {record.version}"


def _reason_against() -> str:
    """Return why no plan can be built here; empty when it can."""
    from edge_ad.engine.tensorrt.preflight import gpu_here
    from edge_ad.export.plan.build import choose_runtime
    from edge_ad.plan_record import NoGpu

    gpu = gpu_here()
    if isinstance(gpu, NoGpu):
        return f"no GPU ({gpu.reason})"
    try:
        choose_runtime()
    except IncompatibleError as error:
        return " ".join(str(error).split())
    return ""
