"""Convert an engine file to another precision, or to another form of stored weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from edge_ad.engine import open_engine
from edge_ad.errors import UsageError
from edge_ad.export.comparison_frames import comparison_frames, describe_origin
from edge_ad.export.fp16.convert import mixed_from_fp32
from edge_ad.export.validated_file import ParityReference, write_validated
from edge_ad.export.weight_storage import dequantize_weights
from edge_ad.files import sha256
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import load_model
from edge_ad.precision import FloatPrecision
from edge_ad.provenance import stamp
from edge_ad.sidecar import load_sidecar, set_threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertConfig:
    """The precision to convert to; fp32 only restores weights that are stored in 8 bits.

    At most `frames` images below `images` serve for ranges and comparison, or generated ones.
    """

    precision: FloatPrecision
    images: Path | None = None
    frames: int = 8


def convert_engine(
    source: Path, out: Path, config: ConvertConfig, on_step: Callable[[str], None]
) -> dict[str, Any]:
    """Write `out` from `source`, compared with it, and return the report.

    Calls `on_step` with a description of each long step. Raises UsageError for a file that is not
    fp32, GateFailed when the outputs differ too much.
    """
    model, manifest = load_model(source)
    if manifest.precision != "fp32":
        raise UsageError(
            f"{source} is {manifest.precision}; only fp32 files can be converted. "
            "Name the fp32 file it was made from, or export it again."
        )
    frames = comparison_frames(manifest, config.images, config.frames)
    on_step(f"comparing with {source.name} on {len(frames.images)} frames")
    with open_engine(source) as engine:
        prediction = engine.infer(frames.images)
    reference = ParityReference(frames, describe_origin(config.images), prediction, source.name)
    converted = _manifest(manifest, source, config)
    model, extra = _convert(model, frames.images, converted)
    report = write_validated(model, converted, out, reference, {"type": "convert", **extra})
    return report | {"threshold": _carry_threshold(source, out, converted)}


def _carry_threshold(source: Path, out: Path, manifest: Manifest) -> bool:
    """Copy the threshold, if there is one and the outputs are the same; return whether it was.

    In fp16 scores move a little, so the guarantee of a threshold has to be established again.
    """
    sidecar = load_sidecar(source)
    if manifest.precision != "fp32" or sidecar is None or sidecar.threshold is None:
        return False
    set_threshold(out, sidecar.threshold)
    return True


def _convert(
    model: ModelProto, frames: Image, manifest: Manifest
) -> tuple[ModelProto, dict[str, Any]]:
    """Return the converted graph and its entries in the report."""
    dequantized = dequantize_weights(model)
    if manifest.precision == "fp32":
        return model, {"weights_dequantized": dequantized}
    mixed = mixed_from_fp32(model, frames, manifest)
    return mixed.model, {"fp16": mixed.as_json()}


def _manifest(manifest: Manifest, source: Path, config: ConvertConfig) -> Manifest:
    provenance = stamp(manifest.provenance, parent_sha256=sha256(source))
    return manifest.replace(precision=config.precision, provenance=provenance)
