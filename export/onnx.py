"""Export a torch module with the engine contract as an ONNX graph that old runtimes read."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import nn

from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.errors import EdgeAdError
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import set_manifest

OPSET = 18  # the exporter's own; ONNX Runtime 1.14 and TensorRT 8.6 read it already
IR_VERSION = 8  # opset 18's own; ONNX Runtime 1.17 refuses the exporter's 10
_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def onnx_from_module(module: nn.Module, manifest: Manifest) -> onnx.ModelProto:
    """Trace a module that takes uint8 (N, H, W, 3) and returns (maps, scores).

    Height and width are `manifest.size_hw`; N is `manifest.batch`, or open when that is None. The
    manifest is stored in the model's `metadata_props`. Raises EdgeAdError when tracing fails.
    """
    model = _trace(module.eval(), manifest)
    _strip(model)
    set_manifest(model, manifest)
    onnx.checker.check_model(model, full_check=True)
    return model


def _trace(module: nn.Module, manifest: Manifest) -> onnx.ModelProto:
    count = manifest.batch or 2  # torch would treat a traced batch of one as a constant
    example = torch.zeros((count, *manifest.size_hw, 3), dtype=torch.uint8)
    open_batch = ({0: torch.export.Dim("batch", min=1)},) if manifest.batch is None else None
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[MAP, SCORE],
                dynamic_shapes=open_batch,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise EdgeAdError(
            f"torch cannot export this {manifest.method}: {_root_message(error)}"
        ) from error
    assert program is not None
    return program.model_proto


def _strip(model: onnx.ModelProto) -> None:
    """Remove source lines, file names of this machine and value types, in place."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    model.ir_version = IR_VERSION


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages about itself, which are meant for torch's developers."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _root_message(error: Exception) -> str:
    """Return the first line of the root cause, without torch's pages of advice."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    return str(root).strip().split("\n")[0]
