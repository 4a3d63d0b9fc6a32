"""Multi-scale gradient magnitude similarity, EAR's error map and loss (Zavrtanik et al., RIAD).

Images are similar where their edges are: the ratio ignores brightness and small shifts of tone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Under the root, so that its slope stays finite; the reference's 1e-12 is zero in half precision.
ROOT_EPS = 1e-6


class MSGMS(nn.Module):
    """Two batches (N, C, H, W) in [0, 1] -> error (N, 1, H, W): 0 where edges agree, up to 1.

    `scales` halve the images each time; `c` keeps the ratio steady where both are flat.
    """

    prewitt: Tensor

    def __init__(self, *, scales: int = 3, c: float = 0.0026) -> None:
        super().__init__()
        self.scales, self.c = scales, c
        across = torch.tensor([[1.0, 0.0, -1.0]]).repeat(3, 1) / 3
        kernels = torch.stack([across, across.T])[:, None]  # (2, 1, 3, 3)
        self.register_buffer("prewitt", kernels, persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        size = (a.shape[2], a.shape[3])
        similar = self._similarity(a, b)
        for _ in range(1, self.scales):
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
            smaller = self._similarity(a, b)
            similar = similar + F.interpolate(
                smaller, size=size, mode="bilinear", align_corners=False
            )
        return (1 - similar / self.scales).mean(dim=1, keepdim=True)

    def _similarity(self, a: Tensor, b: Tensor) -> Tensor:
        ga, gb = self._gradient(a), self._gradient(b)
        return (2 * ga * gb + self.c) / (ga * ga + gb * gb + self.c)

    def _gradient(self, x: Tensor) -> Tensor:
        """Return the gradient magnitude of every channel, zero padding. (N, C, H, W)."""
        channels = x.shape[1]
        across = F.conv2d(x, self._kernel(channels, 0), padding=1, groups=channels)
        down = F.conv2d(x, self._kernel(channels, 1), padding=1, groups=channels)
        return torch.sqrt(across * across + down * down + ROOT_EPS)

    def _kernel(self, channels: int, direction: int) -> Tensor:
        return self.prewitt[direction : direction + 1].repeat(channels, 1, 1, 1)
