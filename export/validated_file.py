"""Write an engine file only if its output matches the reference, with a report beside it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from edge_ad.engine import Prediction, open_engine
from edge_ad.export.comparison_frames import ComparisonFrames
from edge_ad.export.fp16.rounding import rounded_as_stored
from edge_ad.export.parity import TOLERANCE, Agreement, check_parity, compare
from edge_ad.files import replacing, sha256, write_text
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import set_manifest


@dataclass(frozen=True, slots=True)
class ParityReference:
    """Frames, a description of their origin, and the prediction of the reference named `name`."""

    frames: ComparisonFrames
    frames_from: str
    prediction: Prediction
    name: str


def write_validated(
    model: ModelProto,
    manifest: Manifest,
    out: Path,
    reference: ParityReference,
    extra: dict[str, Any],
) -> dict[str, Any]:
    """Write an engine file and its report, and return the report, `extra` included.

    Raises GateFailed, and leaves no file, when the difference exceeds the tolerance.
    """
    set_manifest(model, manifest)
    onnx.checker.check_model(model, full_check=True)
    with replacing(out) as temporary:
        onnx.save(model, temporary)
        parity = _parity(model, manifest, temporary, reference)
        facts = {"sha256": sha256(temporary), "bytes": temporary.stat().st_size}
    report = {
        "engine": str(out),
        **facts,
        "precision": manifest.precision,
        "opset": model.opset_import[0].version,
        "ir_version": model.ir_version,
        "parity": parity,
        "left_out": dict(reference.frames.left_out),
        **extra,
    }
    text = json.dumps(report, indent=2, allow_nan=False)
    write_text(out.with_name(f"{out.name}.report.json"), text + "\n")
    return report


def _parity(
    model: ModelProto, manifest: Manifest, path: Path, reference: ParityReference
) -> dict[str, Any]:
    """Compare the file with the reference; in fp16, as rounded by a GPU."""
    tolerance = TOLERANCE[manifest.precision]
    agreement, computed_by = _compare(path, reference), "ONNX Runtime"
    if manifest.precision == "fp16":
        agreement = _compare_as_stored(model, reference)
        computed_by += ", every fp16 tensor rounded as a GPU stores it"
    check_parity(agreement, tolerance, f"the new file's output differs from {reference.name}")
    return {
        "against": reference.name,
        "computed_by": computed_by,
        "frames_from": reference.frames_from,
        **agreement.as_json(),
        "tolerance": tolerance.relative,
        "reason": tolerance.reason,
    }


def _compare(path: Path, reference: ParityReference) -> Agreement:
    """Run all frames through a file; one of open batch size first gets a single frame."""
    frames = reference.frames
    with open_engine(path) as engine:
        if engine.manifest.batch is None:
            engine.infer(frames.images[:1])
        return compare(reference.prediction, engine.infer(frames.images), frames.originals)


def _compare_as_stored(model: ModelProto, reference: ParityReference) -> Agreement:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stored.onnx"
        onnx.save(rounded_as_stored(model), path)
        return _compare(path, reference)
