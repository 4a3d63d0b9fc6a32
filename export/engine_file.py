"""Weights to an engine file: trace, check against torch, and only then give the file its name."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import torch
from torch import nn

import edge_ad
from edge_ad.engine import Prediction, open_engine
from edge_ad.export.frames import GENERATED, frames_for
from edge_ad.export.parity import TOLERANCE, Agreement, Tolerance, check_parity, compare
from edge_ad.export.report import save_report
from edge_ad.export.storage import rounded, store_in_8_bits
from edge_ad.export.to_onnx import onnx_from_module
from edge_ad.files import replacing, sha256
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.models.graph import EngineGraph
from edge_ad.models.weights import Detector, load_detector

Storage: TypeAlias = Literal["fp32", "int8"]
AT_ONCE = 4  # images through torch together, to bound memory at large sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How the engine file shall be; `batch` None leaves the number of images free."""

    batch: int | None = 1
    store_weights: Storage = "fp32"
    images: Path | None = None
    frames: int = 8


def export_engine(
    weights: Path, out: Path, wishes: Wishes, say: Callable[[str], None]
) -> dict[str, Any]:
    """Write `out` and its report, and answer the report; `say` hears what is being done.

    Raises GateFailed, leaving nothing behind, when ONNX Runtime does not answer as torch does.
    """
    detector = load_detector(weights)
    frames = frames_for(detector.manifest, wishes.images, wishes.frames)
    network = EngineGraph(_stored_as(wishes.store_weights, detector.module))
    say(f"tracing {detector.manifest.method} at {_size(detector.manifest)}")
    model = onnx_from_module(network, _manifest(detector, weights, wishes))
    if wishes.store_weights == "int8":
        store_in_8_bits(model)
    with replacing(out) as temporary:
        onnx.save(model, temporary)
        say(f"comparing with torch on {len(frames)} frames")
        report = _report(model, temporary, _parity(network, temporary, frames, wishes))
        if wishes.store_weights == "int8":
            report["rounding"] = _rounding(detector.module, network, frames)
    report = {"type": "export", "engine": str(out), **report}
    save_report(out, report)
    return report


def torch_answer(network: nn.Module, frames: Image) -> Prediction:
    """What an engine graph answers in eager torch."""
    parts = [frames[start : start + AT_ONCE] for start in range(0, len(frames), AT_ONCE)]
    with torch.inference_mode():
        answers = [network.eval()(torch.from_numpy(part)) for part in parts]
    maps, scores = (
        np.concatenate([t.numpy() for t in side]) for side in zip(*answers, strict=True)
    )
    return Prediction(maps, scores)


def _stored_as(storage: Storage, module: nn.Module) -> nn.Module:
    return rounded(module) if storage == "int8" else module


def _manifest(detector: Detector, weights: Path, wishes: Wishes) -> Manifest:
    """The weights' manifest, with this step's batch and descent."""
    notes = {"weights stored as": wishes.store_weights} if wishes.store_weights != "fp32" else {}
    trained = detector.manifest.provenance
    provenance = trained.model_copy(
        update={
            "made_with": _made_with(),
            "created_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "parent_sha256": sha256(weights),
            "notes": {**trained.notes, **notes},
        }
    )
    return detector.manifest.model_copy(update={"batch": wishes.batch, "provenance": provenance})


def _made_with() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "onnx", "onnxscript")}
    return {"edge-ad": edge_ad.__version__, "python": platform.python_version(), **packages}


def _parity(network: nn.Module, engine_file: Path, frames: Image, wishes: Wishes) -> dict[str, Any]:
    """Compare the file under ONNX Runtime with torch; a free batch is tried at two sizes."""
    tolerance = TOLERANCE["fp32"]
    with open_engine(engine_file) as engine:
        agreement = compare(torch_answer(network, frames), engine.infer(frames))
        check_parity(agreement, tolerance, "the graph under ONNX Runtime is not torch's")
        if wishes.batch is None:
            single = compare(torch_answer(network, frames[:1]), engine.infer(frames[:1]))
            check_parity(single, tolerance, "the graph fed one image is not torch's")
    return _parity_report(agreement, tolerance, wishes)


def _parity_report(agreement: Agreement, tolerance: Tolerance, wishes: Wishes) -> dict[str, Any]:
    return {
        "against": "torch",
        "frames_from": GENERATED if wishes.images is None else str(wishes.images),
        **agreement.as_json(),
        "tolerance": tolerance.relative,
        "reason": tolerance.reason,
    }


def _rounding(original: nn.Module, network: nn.Module, frames: Image) -> dict[str, Any]:
    """What storing the weights in 8 bits changed, both sides in torch."""
    before = torch_answer(EngineGraph(original), frames)
    return {"against": "unrounded weights"} | compare(
        before, torch_answer(network, frames)
    ).as_json()


def _report(model: onnx.ModelProto, path: Path, parity: dict[str, Any]) -> dict[str, Any]:
    return {
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "opset": model.opset_import[0].version,
        "ir_version": model.ir_version,
        "parity": parity,
    }


def _size(manifest: Manifest) -> str:
    height, width = manifest.size_hw
    return f"{width}x{height}"
