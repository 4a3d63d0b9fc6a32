"""Engines on an inference server: what `edge-ad export-triton` wrote, over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_ad.engine.base import MAP, SCORE, Prediction
from edge_ad.engine.onnx_file import OnnxFileEngine, Tensors, check_contract
from edge_ad.errors import EngineLost, IncompatibleError
from edge_ad.frame import Image
from edge_ad.manifest import manifest_from_json
from edge_ad.triton import MANIFEST_PARAMETER, ServedModel
from edge_ad.triton_client import TritonClient

_TYPES = {"UINT8": "tensor(uint8)", "FP32": "tensor(float)"}


class TritonEngine(OnnxFileEngine):
    """A model of a server, with as many images a call as it takes.

    Raises EngineLost when the server is not there, also later, IncompatibleError for a model that
    is not of edge-ad or does not match the contract.
    """

    def __init__(self, served: ServedModel) -> None:
        self.name = str(served)
        self._client = TritonClient(served)
        try:
            config = self._client.config()
            self.manifest = manifest_from_json(_parameter(config, self.name), self.name)
            self._most = _most_images(config)
            tensors = dict(_tensors(self._client.metadata(), self.name))
            if self._most and tensors.get(SCORE, ("", ()))[1] == (None, 1):
                tensors[SCORE] = (tensors[SCORE][0], (None,))  # Triton knows no scalar an image
            check_contract(tensors, self.manifest, self.name)
            self._warm_up()
        except BaseException:
            self._client.close()
            raise

    def infer(self, batch: Image) -> Prediction:
        most = self._most
        if self.manifest.batch is not None or most is None or len(batch) <= most:
            return super().infer(batch)
        parts = [super(TritonEngine, self).infer(batch[start : start + most])
                 for start in range(0, len(batch), most)]  # fmt: skip
        maps, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Prediction(maps, scores)

    def close(self) -> None:
        self._client.close()

    def _run(self, batch: Image) -> Prediction:
        count, height, width = batch.shape[:3]
        score = (count, 1) if self._most else (count,)
        outputs = self._client.infer(batch, {MAP: (count, height, width), SCORE: score})
        return Prediction(outputs[MAP], outputs[SCORE].reshape(count))

    def _warm_up(self) -> None:
        """Run once. An error is the server's; EngineLost says so."""
        self.infer(np.zeros((self.manifest.batch or 1, *self.manifest.size_hw, 3), np.uint8))


def _parameter(config: dict[str, Any], name: str) -> str:
    try:
        return str(config["parameters"][MANIFEST_PARAMETER]["string_value"])
    except (KeyError, TypeError):
        raise IncompatibleError(
            f"{name}: the model's configuration has no parameter {MANIFEST_PARAMETER}, so its "
            "scaling and scores are unknown. Make the model repository with: edge-ad export-triton"
        ) from None


def _most_images(config: dict[str, Any]) -> int | None:
    most = config.get("max_batch_size")
    return most if isinstance(most, int) and most > 0 else None


def _tensors(metadata: dict[str, Any], name: str) -> Tensors:
    """Return names, types and shapes as ONNX says them."""
    try:
        return {
            tensor["name"]: (
                _TYPES.get(tensor["datatype"], str(tensor["datatype"])),
                tuple(side if side >= 0 else None for side in map(int, tensor["shape"])),
            )
            for tensor in (*metadata["inputs"], *metadata["outputs"])
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise EngineLost(
            f"{name}: the answer is not that of an inference server (no inputs and outputs)."
        ) from error
