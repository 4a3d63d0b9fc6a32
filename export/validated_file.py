"""A file gets its name only when ONNX Runtime answers with it as a reference does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from edge_ad.engine import Prediction, open_engine
from edge_ad.export.comparison_frames import Frames
from edge_ad.export.fp16.rounding import rounded_as_stored
from edge_ad.export.parity import TOLERANCE, Agreement, check_parity, compare
from edge_ad.export.report import save_report
from edge_ad.files import replacing, sha256
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import set_manifest


@dataclass(frozen=True, slots=True)
class Check:
    """Frames from `frames_from`, and what the reference `against` answers."""

    frames: Frames
    frames_from: str
    reference: Prediction
    against: str


def write_checked(
    model: ModelProto, manifest: Manifest, out: Path, check: Check, extra: dict[str, Any]
) -> dict[str, Any]:
    """Write an engine file and its report, `extra` included; answer the report.

    Raises GateFailed, leaving nothing behind, when the difference exceeds the tolerance.
    """
    set_manifest(model, manifest)
    onnx.checker.check_model(model, full_check=True)
    with replacing(out) as temporary:
        onnx.save(model, temporary)
        parity = _parity(model, manifest, temporary, check)
        facts = {"sha256": sha256(temporary), "bytes": temporary.stat().st_size}
    report = {
        "engine": str(out),
        **facts,
        "precision": manifest.precision,
        "opset": model.opset_import[0].version,
        "ir_version": model.ir_version,
        "parity": parity,
        **extra,
    }
    save_report(out, report)
    return report


def _parity(model: ModelProto, manifest: Manifest, path: Path, check: Check) -> dict[str, Any]:
    """The file's answers against the reference's; in fp16 those of a GPU's roundings count."""
    tolerance = TOLERANCE[manifest.precision]
    agreement, computed_by = _compared(path, check), "ONNX Runtime"
    if manifest.precision == "fp16":
        agreement = _compared_as_stored(model, check)
        computed_by += ", every fp16 tensor rounded as a GPU stores it"
    check_parity(agreement, tolerance, f"the new file does not answer as {check.against} does")
    return {
        "against": check.against,
        "computed_by": computed_by,
        "frames_from": check.frames_from,
        **agreement.as_json(),
        "tolerance": tolerance.relative,
        "reason": tolerance.reason,
    }


def _compared(path: Path, check: Check) -> Agreement:
    """All frames through the engine in a file; one that takes any number gets one alone first."""
    with open_engine(path) as engine:
        if engine.manifest.batch is None:
            engine.infer(check.frames.images[:1])
        return compare(check.reference, engine.infer(check.frames.images), check.frames.given)


def _compared_as_stored(model: ModelProto, check: Check) -> Agreement:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stored.onnx"
        onnx.save(rounded_as_stored(model), path)
        return _compared(path, check)
