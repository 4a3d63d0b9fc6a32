"""A weights file as an engine, so that code that takes an engine takes a .pt as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import Prediction, check_batch
from edge_ad.frame import Image
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.weights import load_detector

BATCH_SIZE = 16  # bounds memory, does not change results


class TorchEngine(ClosedAtExit):
    """The engine contract on torch; raises as `load_detector` does."""

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        self.name = str(path)
        self.device = torch.device(device)
        module, self.manifest, self.config = load_detector(path)
        self._graph: EngineGraph | None = EngineGraph(module).eval().to(self.device)

    @torch.inference_mode()
    def infer(self, batch: Image) -> Prediction:
        check_batch(batch, self.manifest, self.name)
        assert self._graph is not None, "the engine is closed"
        maps, scores = [], []
        for start in range(0, len(batch), BATCH_SIZE):
            part = torch.from_numpy(batch[start : start + BATCH_SIZE]).to(self.device)
            anomaly_map, anomaly_score = self._graph(part)
            maps.append(anomaly_map.float().cpu().numpy())
            scores.append(anomaly_score.float().cpu().numpy())
        return Prediction(np.concatenate(maps), np.concatenate(scores))

    def close(self) -> None:
        self._graph = None
