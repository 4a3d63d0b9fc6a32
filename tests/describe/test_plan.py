"""Descriptions of plans, from their sidecars and TensorRT's engine inspector."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.describe import inspect_file
from edge_ad.describe import plan as plan_module
from edge_ad.describe.plan import layer_facts
from edge_ad.errors import IncompatibleError
from edge_ad.files import sha256
from edge_ad.manifest import Manifest, Sidecar
from edge_ad.plan_record import BuildRecord
from edge_ad.sidecar import save_sidecar

LAYERS = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to cast",
            "LayerType": "Reformat",
            "Inputs": [{"Name": "image", "Format/Datatype": "Row major linear UInt8 format"}],
            "Outputs": [{"Name": "r", "Format/Datatype": "Row major linear FP32 format"}],
        },
        {
            "Name": "conv1",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "r", "Format/Datatype": "Channel major FP16 format"}],
            "Outputs": [{"Name": "s", "Format/Datatype": "Channel major FP16 format"}],
        },
        {
            "Name": "conv2",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "s", "Format": "Thirty-two wide row major", "Datatype": "Int8"}],
            "Outputs": [{"Name": "t", "Format": "Row major linear", "Datatype": "Half"}],
        },
        {
            "Name": "score",
            "LayerType": "kgen",
            "Inputs": [{"Name": "t", "Format/Datatype": "Float"}],
            "Outputs": [{"Name": "anomaly_score", "Format/Datatype": "Float"}],
        },
        {"Name": "constant", "LayerType": "Constant", "Inputs": [], "Outputs": []},
    ]
}


class Engine:
    """The parts of a deserialized plan that inspection uses."""

    device_memory_size = 3 << 20

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda form: json.dumps(LAYERS))


class Runtime:
    def __init__(self, logger: Any) -> None:
        """TensorRT's takes a logger."""

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        return Engine() if data == b"a plan" else None


class Logger:
    INTERNAL_ERROR, ERROR, WARNING = range(3)


TRT = SimpleNamespace(
    Runtime=Runtime, ILogger=Logger, LayerInformationFormat=SimpleNamespace(JSON=1)
)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "part.plan"
    path.write_bytes(b"a plan")
    build = BuildRecord(
        runtime="tensorrt-rtx", version="1.7.1", onnx="part.onnx", onnx_sha256="0", plan_bytes=6
    )
    manifest = Manifest(method="drawn", size_hw=(8, 8), precision="fp16")
    save_sidecar(path, Sidecar(engine_sha256=sha256(path), manifest=manifest, build=build))
    return path


def test_layers_count_by_the_precision_of_their_inputs() -> None:
    facts = layer_facts(json.dumps(LAYERS))
    assert facts["layers"] == 5
    assert facts["precisions"] == {"fp16": 1, "int8": 1, "fp32": 1, "unknown": 1}
    assert facts["reformats"] == 1
    assert facts["operators"]["CaskConvolution"] == 2


def test_layers_of_a_plan_without_details_count_as_unknown() -> None:
    facts = layer_facts(json.dumps({"Layers": ["conv1", "score"]}))
    assert (facts["layers"], facts["precisions"]) == (2, {"unknown": 2})


def test_a_plan_that_fits_is_opened(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "check_plan", lambda path: SimpleNamespace(trt=TRT))
    facts = inspect_file(plan)
    assert facts["runs_here"] == {"fits": True, "problem": ""}
    assert (facts["graph"]["layers"], facts["graph"]["device_memory_mib"]) == (5, 3)


def test_a_plan_of_another_machine_is_still_described(
    plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise IncompatibleError("it was built for another GPU")

    monkeypatch.setattr(plan_module, "check_plan", refuse)
    facts = inspect_file(plan)
    assert facts["runs_here"] == {"fits": False, "problem": "it was built for another GPU"}
    assert facts["graph"] is None
    assert facts["build"]["version"] == "1.7.1"


def test_a_plan_tensorrt_refuses_says_so(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.write_bytes(b"other bytes")
    sidecar = Sidecar(
        engine_sha256=sha256(plan),
        manifest=Manifest(method="drawn", size_hw=(8, 8)),
        build=BuildRecord(
            runtime="tensorrt", version="10.3", onnx="p", onnx_sha256="0", plan_bytes=1
        ),
    )
    save_sidecar(plan, sidecar)
    monkeypatch.setattr(plan_module, "check_plan", lambda path: SimpleNamespace(trt=TRT))
    assert "TensorRT refuses it" in inspect_file(plan)["runs_here"]["problem"]


def test_a_sidecar_stands_for_its_plan(plan: Path) -> None:
    assert inspect_file(plan.with_name("part.plan.yaml")) == inspect_file(plan)


def test_a_plan_without_sidecar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alone.plan").write_bytes(b"a plan")
    with pytest.raises(IncompatibleError, match="edge-ad build"):
        inspect_file(tmp_path / "alone.plan")
