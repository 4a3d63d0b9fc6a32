"""The engine contract around a method's network, for export and TorchEngine."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EngineGraph(nn.Module):
    """image uint8 (N, H, W, 3) BGR -> anomaly_map float32 (N, H, W), anomaly_score float32 (N,).

    The input goes straight into a cast: TensorRT refuses to transpose uint8.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        bgr = image.to(torch.float32).permute(0, 3, 1, 2)
        anomaly_map, anomaly_score = self.module(bgr.flip(1) / 255)
        return anomaly_map, anomaly_score
