"""Run a foreign graph as it came, on images prepared as the options say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge_ad.errors import IncompatibleError
from edge_ad.export.adapter.description import Adapter, ForeignInput
from edge_ad.export.adapter.wrap import GREY_BGR, affine
from edge_ad.frame import Image

Outputs = list[NDArray[Any]]


class OriginalGraph:
    """A foreign graph under ONNX Runtime, from its file or, as bytes, after a change of types.

    Raises IncompatibleError when ONNX Runtime cannot load it.
    """

    def __init__(self, model: Path | bytes, name: str) -> None:
        self.name = name
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise IncompatibleError(
                f"{name}: ONNX Runtime {ort.__version__} cannot load it: {_line(error)}"
            ) from error

    def run(self, values: NDArray[Any], names: tuple[str, str | None]) -> Outputs:
        """Return the map and, if it is named, the score. Raises IncompatibleError."""
        (only,) = self._session.get_inputs()
        wanted = [name for name in names if name is not None]
        try:
            outputs = self._session.run(wanted, {only.name: values})
        except Exception as error:  # as above
            raise IncompatibleError(
                f"{self.name}: ONNX Runtime cannot run it on input {values.shape}: {_line(error)}"
            ) from error
        return [np.asarray(output) for output in outputs]


def prepared(images: Image, foreign: ForeignInput, adapter: Adapter, kind: str) -> NDArray[Any]:
    """Return uint8 (n, H, W, 3) BGR images as the foreign input, of type `kind`, takes them."""
    values = images.astype(np.float32)
    if foreign.channels == 1:
        values = values @ np.array(GREY_BGR, np.float32)[:, None]
    elif adapter.color == "rgb":
        values = values[..., ::-1]
    factor, summand = affine(adapter, foreign.channels)
    values = values * factor + summand
    if foreign.layout == "nchw":
        values = values.transpose(0, 3, 1, 2)
    values = values if foreign.batched else values[0]
    if foreign.whole_numbers and kind == foreign.kind:
        values = np.rint(values)
    return np.ascontiguousarray(values.astype(_numpy_type(kind)))


def _numpy_type(kind: str) -> np.dtype[Any]:
    return np.dtype("float32" if kind == "bfloat16" else kind)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
