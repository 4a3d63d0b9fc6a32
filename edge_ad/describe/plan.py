"""Describe a compiled plan: its sidecar, whether it runs here, and its layers where it loads."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from edge_ad.engine.tensorrt.preflight import check_plan, read_plan_sidecar
from edge_ad.engine.tensorrt.runtimes import TensorRT, first_error, make_logger
from edge_ad.errors import IncompatibleError

# TensorRT 10 joins format and type in one sentence, TensorRT 11 has a field for the type.
_TYPE_FIELDS = ("Datatype", "DataType", "Format/Datatype")
_TYPES = {
    "fp32": r"\b(Float|FP32)\b",
    "fp16": r"\b(Half|FP16)\b",
    "bf16": r"\b(BFloat16|BF16)\b",
    "fp8": r"\bFP8",
    "uint8": r"\bU(Int|INT)8\b",
    "int8": r"\b(Int8|INT8)\b",
    "int32": r"\b(Int32|INT32)\b",
    "int64": r"\b(Int64|INT64)\b",
    "bool": r"\bBool",
}
_UNKNOWN = "unknown"


def plan_facts(path: Path) -> dict[str, Any]:
    """Return what a plan's sidecar records, and its layers where the plan fits this machine.

    Raises IncompatibleError for a plan without a sidecar, or with another plan's.
    """
    sidecar = read_plan_sidecar(path)
    assert sidecar.manifest is not None and sidecar.build is not None
    graph, problem = _graph(path)
    return {
        "kind": "plan",
        "manifest": sidecar.manifest.to_dict(),
        "build": sidecar.build.to_dict(),
        "runs_here": {"fits": not problem, "problem": problem},
        "graph": graph,
    }


def layer_facts(text: str) -> dict[str, Any]:
    """Count layers by input precision and by type, and those that only reformat.

    `text` is the JSON of TensorRT's engine inspector. Plans built without detailed profiling give
    layer names only; such layers count as 'unknown'.
    """
    layers = json.loads(text).get("Layers", [])
    detailed = [layer for layer in layers if isinstance(layer, dict)]
    precisions = Counter(_precision(layer) for layer in detailed if not _reformats(layer))
    if len(detailed) < len(layers):
        precisions[_UNKNOWN] += len(layers) - len(detailed)
    operators = Counter(str(layer.get("LayerType")) for layer in detailed)
    return {
        "layers": len(layers),
        "precisions": dict(precisions.most_common()),
        "operators": dict(operators.most_common()),
        "reformats": sum(_reformats(layer) for layer in detailed),
    }


def _graph(path: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the layers, or why the plan does not load here."""
    try:
        checked = check_plan(path)
        return _loaded(checked.trt, path), ""
    except IncompatibleError as error:
        return None, str(error)


def _loaded(trt: TensorRT, path: Path) -> dict[str, Any]:
    logger = make_logger(trt)
    engine = trt.Runtime(logger).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise IncompatibleError(f"{path}: TensorRT refuses it: {first_error(logger.errors)}")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    memory = getattr(engine, "device_memory_size_v2", None)  # TensorRT 10.0 has the first one only
    if memory is None:
        memory = engine.device_memory_size
    return {**layer_facts(text), "device_memory_mib": round(memory / 2**20, 2)}


def _reformats(layer: dict[str, Any]) -> bool:
    return layer.get("LayerType") == "Reformat"


def _precision(layer: dict[str, Any]) -> str:
    """Return the type of a layer's first input, or of its first output if it has no inputs."""
    for tensor in (*layer.get("Inputs", ()), *layer.get("Outputs", ())):
        if isinstance(tensor, dict):
            return _type(tensor)
    return _UNKNOWN


def _type(tensor: dict[str, Any]) -> str:
    text = next((str(tensor[field]) for field in _TYPE_FIELDS if field in tensor), "")
    for name, pattern in _TYPES.items():
        if re.search(pattern, text):
            return name
    return _UNKNOWN
