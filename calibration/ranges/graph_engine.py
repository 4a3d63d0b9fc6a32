"""An engine for a graph in memory, so that a candidate can be evaluated before it is a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from edge_ad.calibration.ranges.target import Target
from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import INPUT, MAP, SCORE, Prediction, check_batch, in_batches
from edge_ad.engine.thread_variants import session_options
from edge_ad.errors import MissingExtra
from edge_ad.frame import Image
from edge_ad.machine.host import usable_cores
from edge_ad.manifest import Manifest

if TYPE_CHECKING:
    import onnxruntime as ort


class GraphEngine(ClosedAtExit):
    """Run an ONNX model in memory with ONNX Runtime's CPU provider.

    For TensorRT graphs the Q/DQ nodes run unfused, with the weights dequantized beforehand: the
    same numbers as int8 arithmetic, and a quarter faster than trying to fuse them on a CPU.
    """

    def __init__(
        self, model: onnx.ModelProto, manifest: Manifest, target: Target, *, threads: int = 0
    ) -> None:
        self.name, self.manifest = "graph in memory", manifest
        self._session = open_session(model, target, threads)

    def infer(self, batch: Image) -> Prediction:
        check_batch(batch, self.manifest, self.name)
        parts = in_batches(batch, self.manifest.batch) if self.manifest.batch else [batch]
        outputs = [self._session.run([MAP, SCORE], {INPUT: part}) for part in parts]
        maps, scores = (np.concatenate(side)[: len(batch)] for side in zip(*outputs, strict=True))
        return Prediction(maps, scores)

    def close(self) -> None:
        self.__dict__.pop("_session", None)


def open_session(
    model: onnx.ModelProto, target: Target = "onnxruntime", threads: int = 0
) -> ort.InferenceSession:
    """Load a model from memory. Raises MissingExtra without onnxruntime.

    With `threads` 0 there is one for each usable core, counted here: ONNX Runtime's own default
    pins each thread to a core, and on a busy machine an image then took nine times as long. For
    the same reason threads sleep while they wait.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtra("calibrating", "onnxruntime", "onnxruntime") from error
    options = session_options(threads or usable_cores())
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if target == "tensorrt":
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
