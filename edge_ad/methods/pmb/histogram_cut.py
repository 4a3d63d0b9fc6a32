"""Histogram Error Estimation: the cut above an image's many small errors (PMB, TCSVT 2023).

A restoration is never exact; its many small errors add up and hide the few large ones. Errors below
the end of the histogram's main peak are removed. ONNX has no histogram, so counts come from
comparing with fixed edges; shapes are static and the result is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NEGLIGIBLE = 1e-6  # an image whose largest error is below this has none


class HistogramCut(nn.Module):
    """Error map (N, 1, H, W) >= 0 -> each image's cut (N, 1, 1, 1), in the map's units.

    The cut is the lower edge of the first of `bins` bins behind the peak that holds at most `eta`
    of the peak's count, or the peak's upper edge when no bin is that empty.
    """

    edges: Tensor

    def __init__(self, *, bins: int = 64, eta: float = 0.05) -> None:
        super().__init__()
        self.bins, self.eta = bins, eta
        self.register_buffer("edges", torch.arange(bins) / bins, persistent=False)

    def forward(self, error: Tensor) -> Tensor:
        values = error.flatten(1)
        largest = values.amax(dim=1, keepdim=True)
        counts = self._counts(values / (largest + 1e-12))
        return (self._bin(counts) / self.bins * largest)[:, :, None, None]

    def _counts(self, share: Tensor) -> Tensor:
        """Count the values in [0, 1] per bin, the last one closed above. (N, bins)."""
        reached = share[:, None, :] >= self.edges[None, :, None]
        at_least = reached.to(share.dtype).sum(dim=2)
        return at_least - torch.cat([at_least[:, 1:], torch.zeros_like(at_least[:, :1])], dim=1)

    def _bin(self, counts: Tensor) -> Tensor:
        """Return the index of the bin whose lower edge is the cut. (N, 1)."""
        most = counts.amax(dim=1, keepdim=True)
        peak = self._first(counts >= most)
        index = self.edges * self.bins
        empty = self._first((index[None] > peak + 0.5) & (counts <= self.eta * most))
        return torch.where(empty > self.bins - 0.5, peak + 1, empty)

    def _first(self, matches: Tensor) -> Tensor:
        """Return the index of the first true of (N, bins), or `bins` where none is. (N, 1)."""
        back = self.bins - self.edges * self.bins
        return self.bins - (matches.to(back.dtype) * back).amax(dim=1, keepdim=True)


def above_cut(error: Tensor, cut: Tensor) -> Tensor:
    """Return the part of the error above the cut; 0 for images whose errors are all negligible."""
    significant = (error.amax(dim=(1, 2, 3), keepdim=True) >= NEGLIGIBLE).to(error.dtype)
    return torch.relu(error - cut) * significant
