"""Read ONNX files, and the manifest in their `metadata_props`."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_model

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.manifest import (
    METADATA_KEY,
    Manifest,
    export_advice,
    manifest_from_json,
    no_manifest,
)
from edge_ad.onnx_graph.wire import NotOnnxError, check_is_onnx


def load_onnx(path: Path, *, check: bool = True) -> ModelProto:
    """Read any ONNX file, data beside it included; `check` applies onnx's own checker to it.

    Raises UsageError for a missing file or missing data beside it, IncompatibleError for one that
    is not ONNX, is cut off, holds no graph or fails the check.
    """
    if not path.is_file():
        raise UsageError(
            f"no ONNX file at {path}. Export one with: edge-ad export WEIGHTS.pt -o {path}"
        )
    model = _parsed(path)
    _check_data_is_there(model, path)
    try:
        load_external_data_for_model(model, str(path.parent))
        _check_weights(model)
        if check:
            onnx.checker.check_model(model)
    except Exception as error:  # onnx's errors share no public base class
        raise _unreadable(path, _first_line(error)) from error
    return model


def _parsed(path: Path) -> ModelProto:
    """Parse the file, without data beside it."""
    data = path.read_bytes()
    try:
        check_is_onnx(data)
        model = onnx.load_model_from_string(data)
    except NotOnnxError as error:
        raise _unreadable(path, str(error)) from error
    except Exception as error:  # protobuf's
        raise _unreadable(path, _first_line(error)) from error
    if not model.ir_version or not model.graph.node:
        raise _unreadable(path, "expected a graph with nodes, got none")
    return model


def _check_data_is_there(model: ModelProto, path: Path) -> None:
    """Raise UsageError when weights are in a file that was not copied along."""
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and not (path.parent / entry.value).is_file():
                raise UsageError(
                    f"{path} keeps its weights in another file, '{entry.value}', which is not in "
                    f"{path.parent}. Copy it there too."
                )


def _check_weights(model: ModelProto) -> None:
    """Raise ValueError for weights that are not as many as their shape says."""
    for tensor in model.graph.initializer:
        try:
            numpy_helper.to_array(tensor)
        except Exception as error:  # of numpy, or of onnx for a type that it does not know
            raise ValueError(f"weights '{tensor.name}': {_first_line(error)}") from error


def load_model(path: Path) -> tuple[ModelProto, Manifest]:
    """Read an engine file of edge-ad; raises as `load_onnx`, or if its manifest is missing."""
    model = load_onnx(path)
    for prop in model.metadata_props:
        if prop.key == METADATA_KEY:
            return model, manifest_from_json(prop.value, str(path))
    raise no_manifest(path)


def set_manifest(model: ModelProto, manifest: Manifest) -> None:
    """Write the manifest into the model's `metadata_props`, replacing any other metadata."""
    model.graph.name = manifest.method
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _unreadable(path: Path, reason: str) -> IncompatibleError:
    return IncompatibleError(f"{path}: not readable as ONNX: {reason}. {export_advice(path)}")
