"""DeSTSeg, in full size and as shipped, compiled by the real TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from edge_ad.engine.tensorrt import preflight
from edge_ad.errors import IncompatibleError
from edge_ad.export.comparison_frames import generated_frames
from edge_ad.export.fp16.convert import mixed_from_fp32
from edge_ad.export.onnx import onnx_from_module
from edge_ad.export.plan.build import build_plan
from edge_ad.export.weight_storage import dequantize_weights
from edge_ad.manifest import Manifest, Score
from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.onnx_graph.load import load_model
from edge_ad.plan_record import BuildRecord, Machine, Runtime
from edge_ad.sidecar import load_sidecar
from tests.conftest import ROOT
from tests.export.plan.plan_graphs import saved
from tests.plan_records import RTX_4090

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: nothing to build with")

RTX: Runtime = "tensorrt-rtx"
SAMPLE = ROOT / "edge_ad" / "sample" / "engine.onnx"


def full_size() -> tuple[onnx.ModelProto, Manifest]:
    torch.manual_seed(0)
    module = DeSTSeg(DeSTSegConfig(top_k=100), (256, 256)).eval()
    manifest = Manifest(method="destseg", size_hw=(256, 256), score=Score(top_k=100))
    return onnx_from_module(EngineGraph(module), manifest), manifest


def sample_detector() -> tuple[onnx.ModelProto, Manifest]:
    """Return the sample's detector with its 8-bit weights dequantized."""
    model, manifest = load_model(SAMPLE)
    assert dequantize_weights(model)
    return model, manifest


@pytest.mark.slow
@pytest.mark.parametrize("make", [full_size, sample_detector])
def test_destseg_builds_in_fp32_and_fp16(
    tmp_path: Path, make: Callable[[], tuple[onnx.ModelProto, Manifest]]
) -> None:
    fp32, manifest = make()
    fp16 = mixed_from_fp32(fp32, generated_frames(manifest.size_hw, 1), manifest).model
    for name, model in {"fp32": fp32, "fp16": fp16}.items():
        path = saved(model, tmp_path / f"{name}.onnx")
        built = build_plan(path, tmp_path / f"{name}.plan", runtime=RTX)
        assert load_sidecar(built.plan) == built.sidecar
        assert built.sidecar.build is not None
        assert_only_fits_here(built.plan, built.sidecar.build)
    sizes = {name: (tmp_path / f"{name}.plan").stat().st_size for name in ("fp32", "fp16")}
    assert sizes["fp16"] < 0.7 * sizes["fp32"]  # the weights really are fp16


def assert_only_fits_here(plan: Path, build: BuildRecord) -> None:
    """Check that a changed byte, version or GPU is refused before TensorRT loads the plan."""
    preflight.check(plan, build, Machine(RTX, build.version, RTX_4090))
    with pytest.raises(IncompatibleError, match=r"here is 9\.9\.9\. .*: edge-ad build"):
        preflight.check(plan, build, Machine(RTX, "9.9.9", RTX_4090))
    old = replace(RTX_4090, name="Tesla T4", compute_capability="7.5")
    with pytest.raises(IncompatibleError, match=r"needs compute capability 8\.0 or later"):
        preflight.check(plan, build, Machine(RTX, build.version, old))
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 1
    plan.write_bytes(data)
    with pytest.raises(IncompatibleError, match="another engine"):
        preflight.check_plan(plan)
