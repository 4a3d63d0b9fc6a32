"""The attention of a digit classifier (EAR's first version; the authors' public code).

A softmax over all positions weighs the features, so the net learns to attend to strokes; in other
images it attends to what stands out from a plain ground.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


class DigitAttention(nn.Module):
    """rgb (N, 3, H, W) in [0, 1] -> attention (N, 1, H/4, W/4), summing to one over positions."""

    grey: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.block1 = _two_convs(1, 32)
        self.block2 = _two_convs(32, 64)
        self.attend = nn.Conv2d(64, 1, 1)
        self.wide = nn.Conv2d(64, 512, 3, padding=1)
        self.classify = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 10))
        self.register_buffer("grey", torch.tensor(GREY).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        return self._features((rgb * self.grey).sum(dim=1, keepdim=True))[1]

    def digits(self, grey: Tensor) -> Tensor:
        """Return logits (N, 10) of grey (N, 1, H, W) in [0, 1], for training."""
        features, attention = self._features(grey)
        pooled = torch.relu(self.wide(features * attention)).mean(dim=(2, 3))
        logits: Tensor = self.classify(pooled)
        return logits

    def _features(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        features = F.max_pool2d(self.block2(F.max_pool2d(self.block1(grey), 2)), 2)
        scores = self.attend(features)
        return features, torch.softmax(scores.flatten(2), dim=2).view_as(scores)


def _two_convs(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(),
    )
