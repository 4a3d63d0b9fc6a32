"""One engine file into another: precision, or the form in which weights are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from edge_ad.engine import open_engine
from edge_ad.errors import UsageError
from edge_ad.export.comparison_frames import frames_for, origin
from edge_ad.export.fp16.convert import mixed_from_fp32
from edge_ad.export.report import Say
from edge_ad.export.validated_file import Check, write_checked
from edge_ad.export.weight_storage import multiply_out
from edge_ad.files import sha256
from edge_ad.frame import Image
from edge_ad.manifest import Manifest, load_sidecar, set_threshold
from edge_ad.onnx_graph.load import load_model
from edge_ad.precision import FloatPrecision
from edge_ad.provenance import stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertConfig:
    """What shall become of a file. fp32 only brings weights stored in 8 bits back to fp32."""

    precision: FloatPrecision
    images: Path | None = None
    frames: int = 8


def convert_engine(source: Path, out: Path, change: ConvertConfig, say: Say) -> dict[str, Any]:
    """Write `out` from `source`, checked against it, with a report; answer the report.

    Raises UsageError for a file that is not fp32, GateFailed for answers that differ too much.
    """
    model, manifest = load_model(source)
    if manifest.precision != "fp32":
        raise UsageError(
            f"{source} is {manifest.precision}; only fp32 files convert. "
            "Name the fp32 file it was made from, or export it again."
        )
    frames = frames_for(manifest, change.images, change.frames)
    say(f"comparing with {source.name} on {len(frames.images)} frames")
    with open_engine(source) as engine:
        check = Check(frames, origin(change.images), engine.infer(frames.images), source.name)
    changed = _manifest(manifest, source, change)
    model, extra = _changed(model, frames.images, changed)
    report = write_checked(model, changed, out, check, {"type": "convert", **extra})
    return report | {"threshold": _carry_threshold(source, out, changed)}


def _carry_threshold(source: Path, out: Path, manifest: Manifest) -> bool:
    """Give the new file the threshold of the old one, if it has any and answers are the same.

    In fp16 scores move a little; there the promise of a threshold has to be made anew.
    """
    known = load_sidecar(source)
    if manifest.precision != "fp32" or known is None or known.threshold is None:
        return False
    set_threshold(out, known.threshold)
    return True


def _changed(
    model: ModelProto, frames: Image, manifest: Manifest
) -> tuple[ModelProto, dict[str, Any]]:
    stored = multiply_out(model)
    if manifest.precision == "fp32":
        return model, {"weights_multiplied_out": stored}
    mixed = mixed_from_fp32(model, frames, manifest)
    return mixed.model, {"fp16": mixed.as_json()}


def _manifest(manifest: Manifest, source: Path, change: ConvertConfig) -> Manifest:
    provenance = stamp(manifest.provenance, parent_sha256=sha256(source))
    return manifest.model_copy(update={"precision": change.precision, "provenance": provenance})
