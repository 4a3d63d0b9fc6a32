"""What TensorRT's engine inspector tells of a plan's layers: precisions, reformats, types."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

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


def layer_facts(text: str) -> dict[str, Any]:
    """Layers by the precision of what they take, by type, and how many only reformat.

    `text` is the inspector's JSON. Plans built without details tell names alone; their layers
    count as 'untold'.
    """
    layers = json.loads(text).get("Layers", [])
    told = [layer for layer in layers if isinstance(layer, dict)]
    precisions = Counter(_precision(layer) for layer in told if not _reformats(layer))
    if len(told) < len(layers):
        precisions["untold"] += len(layers) - len(told)
    return {
        "layers": len(layers),
        "precisions": dict(precisions.most_common()),
        "operators": dict(Counter(str(layer.get("LayerType")) for layer in told).most_common()),
        "reformats": sum(_reformats(layer) for layer in told),
    }


def _reformats(layer: dict[str, Any]) -> bool:
    return layer.get("LayerType") == "Reformat"


def _precision(layer: dict[str, Any]) -> str:
    """The type of the first tensor a layer takes, or makes where it takes none."""
    for tensor in (*layer.get("Inputs", ()), *layer.get("Outputs", ())):
        if isinstance(tensor, dict):
            return _type(tensor)
    return "untold"


def _type(tensor: dict[str, Any]) -> str:
    told = next((str(tensor[field]) for field in _TYPE_FIELDS if field in tensor), "")
    for name, pattern in _TYPES.items():
        if re.search(pattern, told):
            return name
    return "untold"
