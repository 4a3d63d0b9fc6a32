"""A graph in memory as an engine: what a file would answer, before there is a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from edge_ad.calibration.quantize.placement import Target
from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import INPUT, MAP, SCORE, Prediction, check_batch, in_batches
from edge_ad.errors import MissingExtra
from edge_ad.frame import Image
from edge_ad.machine.host import usable_cores
from edge_ad.manifest import Manifest

if TYPE_CHECKING:
    import onnxruntime as ort


class GraphEngine(ClosedAtExit):
    """The engine contract on an ONNX model under ONNX Runtime's CPU provider.

    For TensorRT graphs the Q/DQ nodes run as they stand, with weights multiplied out beforehand:
    the same numbers as int8 arithmetic, a quarter faster here than fusing what CPUs cannot fuse.
    """

    def __init__(
        self, model: onnx.ModelProto, manifest: Manifest, target: Target, *, threads: int = 0
    ) -> None:
        self.name, self.manifest = "graph in memory", manifest
        self._session = open_session(model, target, threads)

    def infer(self, batch: Image) -> Prediction:
        check_batch(batch, self.manifest, self.name)
        parts = in_batches(batch, self.manifest.batch) if self.manifest.batch else [batch]
        answers = [self._session.run([MAP, SCORE], {INPUT: part}) for part in parts]
        maps, scores = (np.concatenate(side)[: len(batch)] for side in zip(*answers, strict=True))
        return Prediction(maps, scores)

    def close(self) -> None:
        self.__dict__.pop("_session", None)


def open_session(
    model: onnx.ModelProto, target: Target = "onnxruntime", threads: int = 0
) -> ort.InferenceSession:
    """Load a model from memory. Raises MissingExtra without onnxruntime.

    As many threads as there are cores to use, when `threads` is 0, counted here: ONNX Runtime's own
    count ties each thread to a core, and on a machine that does other work too an image then took
    nine times as long. They sleep while they wait, for the same reason.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtra("calibrating", "onnxruntime", "onnxruntime") from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if target == "tensorrt":
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
