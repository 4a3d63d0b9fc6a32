"""Export weights to an engine file: trace, cast where asked, compare with torch, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from onnx import ModelProto
from torch import nn

from edge_ad.engine import Prediction
from edge_ad.export.comparison_frames import ComparisonFrames, comparison_frames, describe_origin
from edge_ad.export.fp16.convert import mixed_from_fp32
from edge_ad.export.onnx import onnx_from_module
from edge_ad.export.parity import compare
from edge_ad.export.validated_file import ParityReference, write_validated
from edge_ad.export.verification import WEIGHTS_NOTE
from edge_ad.export.weight_storage import round_weights, store_weights_as_int8
from edge_ad.files import sha256
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.weights import TrainedDetector, load_detector
from edge_ad.precision import FloatPrecision
from edge_ad.provenance import stamp

Storage: TypeAlias = Literal["fp32", "int8"]
_BATCH = 4  # images through torch together, to bound memory at large sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Options of an export; `batch` None leaves the number of images open.

    At most `frames` images below `images` serve for ranges and comparison, or generated ones.
    """

    batch: int | None = 1
    precision: FloatPrecision = "fp32"
    store_weights: Storage = "fp32"
    images: Path | None = None
    frames: int = 8


def export_engine(
    weights: Path, out: Path, config: ExportConfig, on_step: Callable[[str], None]
) -> dict[str, Any]:
    """Write `out` and its report, and return the report.

    Calls `on_step` with a description of each long step. Raises GateFailed, and leaves no file,
    when ONNX Runtime's output differs from torch's.
    """
    detector = load_detector(weights)
    manifest = _manifest(detector, weights, config)
    frames = comparison_frames(manifest, config.images, config.frames)
    network = EngineGraph(_stored_as(config.store_weights, detector.module))
    on_step(f"tracing {manifest.method} at {manifest.size_hw[1]}x{manifest.size_hw[0]}")
    model, extra = _typed(onnx_from_module(network, manifest), frames.images, manifest, config)
    on_step(f"comparing with torch on {len(frames.images)} frames")
    prediction = torch_prediction(network, frames.images)
    if config.store_weights == "int8":
        extra["rounding"] = _rounding(detector.module, prediction, frames)
    reference = ParityReference(frames, describe_origin(config.images), prediction, "torch")
    return write_validated(model, manifest, out, reference, {"type": "export", **extra})


def torch_prediction(network: nn.Module, frames: Image) -> Prediction:
    """Run frames uint8 (n, H, W, 3) through an engine graph in eager torch, in batches."""
    parts = [frames[start : start + _BATCH] for start in range(0, len(frames), _BATCH)]
    with torch.inference_mode():
        outputs = [network.eval()(torch.from_numpy(part)) for part in parts]
    sides = zip(*outputs, strict=True)
    maps, scores = (np.concatenate([t.numpy() for t in side]) for side in sides)
    return Prediction(maps, scores)


def _stored_as(storage: Storage, module: nn.Module) -> nn.Module:
    return round_weights(module) if storage == "int8" else module


def _typed(
    model: ModelProto, frames: Image, manifest: Manifest, config: ExportConfig
) -> tuple[ModelProto, dict[str, Any]]:
    """Return the graph in the configured precision and storage, and its entries in the report."""
    if config.precision == "fp16":
        mixed = mixed_from_fp32(model, frames, manifest)
        return mixed.model, {"fp16": mixed.as_json()}
    if config.store_weights == "int8":
        store_weights_as_int8(model)
    return model, {}


def _manifest(detector: TrainedDetector, weights: Path, config: ExportConfig) -> Manifest:
    """Return the weights' manifest with this step's batch, precision and provenance."""
    notes = {WEIGHTS_NOTE: "int8"} if config.store_weights == "int8" else {}
    provenance = stamp(detector.manifest.provenance, parent_sha256=sha256(weights), notes=notes)
    changes = {"batch": config.batch, "precision": config.precision, "provenance": provenance}
    return detector.manifest.replace(**changes)


def _rounding(original: nn.Module, stored: Prediction, frames: ComparisonFrames) -> dict[str, Any]:
    """Measure what storing the weights in 8 bits changed, both sides in torch."""
    before = torch_prediction(EngineGraph(original), frames.images)
    agreement = compare(before, stored, frames.originals)
    return {"against": "unrounded weights", **agreement.as_json()}
