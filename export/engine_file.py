"""Weights to an engine file: trace, cast where asked, check against torch, then name the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from onnx import ModelProto
from torch import nn

from edge_ad.engine import Prediction
from edge_ad.export.comparison_frames import Frames, frames_for, origin
from edge_ad.export.fp16.convert import mixed_from_fp32
from edge_ad.export.onnx import onnx_from_module
from edge_ad.export.parity import compare
from edge_ad.export.report import Say
from edge_ad.export.validated_file import Check, write_checked
from edge_ad.export.verification import WEIGHTS_NOTE
from edge_ad.export.weight_storage import rounded, store_in_8_bits
from edge_ad.files import sha256
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.weights import Detector, load_detector
from edge_ad.precision import FloatPrecision
from edge_ad.provenance import stamp

Storage: TypeAlias = Literal["fp32", "int8"]
AT_ONCE = 4  # images through torch together, to bound memory at large sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """How the engine file shall be; `batch` None leaves the number of images free."""

    batch: int | None = 1
    precision: FloatPrecision = "fp32"
    store_weights: Storage = "fp32"
    images: Path | None = None
    frames: int = 8


def export_engine(weights: Path, out: Path, wishes: ExportConfig, say: Say) -> dict[str, Any]:
    """Write `out` and its report, and answer the report; `say` hears what is being done.

    Raises GateFailed, leaving nothing behind, when ONNX Runtime does not answer as torch does.
    """
    detector = load_detector(weights)
    manifest = _manifest(detector, weights, wishes)
    frames = frames_for(manifest, wishes.images, wishes.frames)
    network = EngineGraph(_stored_as(wishes.store_weights, detector.module))
    say(f"tracing {manifest.method} at {manifest.size_hw[1]}x{manifest.size_hw[0]}")
    model, extra = _typed(onnx_from_module(network, manifest), frames.images, manifest, wishes)
    say(f"comparing with torch on {len(frames.images)} frames")
    reference = torch_answer(network, frames.images)
    if wishes.store_weights == "int8":
        extra["rounding"] = _rounding(detector.module, reference, frames)
    check = Check(frames, origin(wishes.images), reference, "torch")
    return write_checked(model, manifest, out, check, {"type": "export", **extra})


def torch_answer(network: nn.Module, frames: Image) -> Prediction:
    """What an engine graph answers in eager torch."""
    parts = [frames[start : start + AT_ONCE] for start in range(0, len(frames), AT_ONCE)]
    with torch.inference_mode():
        answers = [network.eval()(torch.from_numpy(part)) for part in parts]
    sides = zip(*answers, strict=True)
    maps, scores = (np.concatenate([t.numpy() for t in side]) for side in sides)
    return Prediction(maps, scores)


def _stored_as(storage: Storage, module: nn.Module) -> nn.Module:
    return rounded(module) if storage == "int8" else module


def _typed(
    model: ModelProto, frames: Image, manifest: Manifest, wishes: ExportConfig
) -> tuple[ModelProto, dict[str, Any]]:
    """The graph in the precision and storage wished for, and what the report says of that."""
    if wishes.precision == "fp16":
        mixed = mixed_from_fp32(model, frames, manifest)
        return mixed.model, {"fp16": mixed.as_json()}
    if wishes.store_weights == "int8":
        store_in_8_bits(model)
    return model, {}


def _manifest(detector: Detector, weights: Path, wishes: ExportConfig) -> Manifest:
    """The weights' manifest, with this step's batch, precision and descent."""
    notes = {WEIGHTS_NOTE: "int8"} if wishes.store_weights == "int8" else {}
    provenance = stamp(detector.manifest.provenance, parent_sha256=sha256(weights), notes=notes)
    changed = {"batch": wishes.batch, "precision": wishes.precision, "provenance": provenance}
    return detector.manifest.model_copy(update=changed)


def _rounding(original: nn.Module, stored: Prediction, frames: Frames) -> dict[str, Any]:
    """What storing the weights in 8 bits changed, both sides in torch."""
    before = torch_answer(EngineGraph(original), frames.images)
    found = compare(before, stored, frames.given)
    return {"against": "unrounded weights", **found.as_json()}
