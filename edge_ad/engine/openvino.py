"""Engines on OpenVINO: the same ONNX files on Intel and AMD processors, often faster in int8."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.engine.base import INPUT, MAP, SCORE, Prediction
from edge_ad.engine.onnx_file import OnnxFileEngine, Tensors, check_contract
from edge_ad.engine.options import DEFAULT_OPTIONS, EngineOptions
from edge_ad.errors import EdgeAdError, IncompatibleError, MissingExtra
from edge_ad.frame import Image
from edge_ad.machine.host import adds_int8_exactly
from edge_ad.manifest import METADATA_KEY, manifest_from_json, no_manifest
from edge_ad.onnx_graph.wire import NotOnnxError, metadata

if TYPE_CHECKING:
    import openvino

_TYPES = {"u8": "tensor(uint8)", "f32": "tensor(float)"}


class OpenVinoEngine(OnnxFileEngine):
    """An ONNX file under OpenVINO, on the CPU.

    Float layers are computed in float32: OpenVINO would take bfloat16 where a processor has it, and
    scores would differ from those that the threshold was set with.

    Raises IncompatibleError when the file is not ONNX, has no manifest, or its inputs and outputs
    do not match the contract.
    """

    def __init__(self, path: Path, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        self.name = str(path)
        if options.device != "cpu":
            raise IncompatibleError(
                f"{path}: OpenVINO runs on the CPU here. Leave out --device {options.device}, or "
                "take --runtime onnxruntime."
            )
        try:
            properties = metadata(path.read_bytes())
        except NotOnnxError as error:
            raise IncompatibleError(f"{path}: cannot load it: {error}. Export it again.") from error
        if METADATA_KEY not in properties:
            raise no_manifest(path)
        self.manifest = manifest_from_json(properties[METADATA_KEY], self.name)
        if self.manifest.precision == "int8" and not adds_int8_exactly():
            raise IncompatibleError(
                f"{path}: OpenVINO would give wrong scores in int8 on this processor, which has no "
                "VNNI instructions: it cuts sums at 16 bits. Take --runtime onnxruntime, which "
                "does not, or the file in fp32."
            )
        model = _compile(path, options)
        check_contract(_tensors([*model.inputs, *model.outputs]), self.manifest, path)
        self._request = model.create_infer_request()
        self._warm_up()

    def close(self) -> None:
        self.__dict__.pop("_request", None)

    def _run(self, batch: Image) -> Prediction:
        try:
            outputs = self._request.infer({INPUT: np.ascontiguousarray(batch)}, share_inputs=True)
            return Prediction(outputs[MAP], outputs[SCORE])
        except RuntimeError as error:
            raise EdgeAdError(f"{self.name}: OpenVINO failed: {error}") from error


def _compile(path: Path, options: EngineOptions) -> openvino.CompiledModel:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra(f"running {path.name} with OpenVINO", "openvino", "openvino") from error
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if options.threads:
        settings["INFERENCE_NUM_THREADS"] = str(options.threads)
    core = openvino.Core()
    try:
        return core.compile_model(core.read_model(path), "CPU", settings)
    except RuntimeError as error:
        raise IncompatibleError(
            f"{path}: OpenVINO {openvino.__version__} cannot load it: {_reason(error)}. Take "
            "--runtime onnxruntime."
        ) from error


def _tensors(ports: list[openvino.ConstOutput]) -> Tensors:
    """Return names, types and shapes as ONNX says them."""
    return {
        port.any_name: (
            _TYPES.get(port.element_type.to_string(), port.element_type.to_string()),
            tuple(side.get_length() if side.is_static else None for side in port.partial_shape),
        )
        for port in ports
    }


def _reason(error: RuntimeError) -> str:
    """Return the last line of OpenVINO's message: those before name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no reason given"
