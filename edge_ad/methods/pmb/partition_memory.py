"""Memories of normal patterns, one per partition of a feature map (PMB, Xing and Li, TCSVT 2023).

A memory cannot recall anomalous patterns, so anomalous parts are restored badly. Reconstructed from
the paper's abstract; every choice that it leaves open is an argument.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Query = Literal["channel", "block", "pixel"]
Shrink = Literal["hard", "soft", "none"]
EPS = 1e-6


class PartitionMemory(nn.Module):
    """(N, C, H, W) -> the same shape, recalled from memory, and the mean entropy of addressing.

    The map is cut into `grid` x `grid` partitions, each with its own `items` items. A query is
    a `channel` of a partition, the whole partition (`block`), or a position's channels (`pixel`).
    Addressing is the softmax of the cosines over `temperature`; `shrink` drops weights below
    1/items: `hard` keeps the others unchanged (MemAE), `soft` lowers them by as much, so that
    weights are continuous.
    """

    def __init__(
        self,
        feature_chw: tuple[int, int, int],
        *,
        grid: int,
        items: int,
        query: Query,
        shrink: Shrink,
        temperature: float,
    ) -> None:
        super().__init__()
        channels, height, width = feature_chw
        self.grid, self.query, self.shrink, self.temperature = grid, query, shrink, temperature
        self.part_chw = (channels, height // grid, width // grid)
        length = {
            "channel": self.part_chw[1] * self.part_chw[2],
            "block": channels * self.part_chw[1] * self.part_chw[2],
            "pixel": channels,
        }[query]
        self.items = nn.Parameter(torch.empty(grid * grid, items, length).normal_(0.0, 0.02))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.address(self.queries(features))
        return self.features(weights @ self.items), _entropy(weights)

    def queries(self, features: Tensor) -> Tensor:
        """Return the queries (N, partitions, queries, length) of features (N, C, H, W)."""
        parts = self._cut(features)
        if self.query == "channel":
            return parts.flatten(3)
        if self.query == "block":
            return parts.flatten(2)[:, :, None]
        return parts.flatten(3).transpose(2, 3)

    def features(self, queries: Tensor) -> Tensor:
        """Return the features whose `queries` these are."""
        if self.query == "pixel":
            queries = queries.transpose(2, 3)
        return self._join(queries.reshape(-1, self.grid**2, *self.part_chw))

    def address(self, queries: Tensor) -> Tensor:
        """Return weights (N, partitions, queries, items), sum one, of queries (..., length)."""
        cosines = _unit(queries) @ _unit(self.items).transpose(1, 2)
        weights = torch.softmax(cosines / self.temperature, dim=3)
        if self.shrink == "none":
            return weights
        above = torch.relu(weights - 1 / self.items.shape[1])
        if self.shrink == "hard":
            above = weights * above / (above + EPS)
        return above / (above.sum(dim=3, keepdim=True) + EPS)

    def _cut(self, x: Tensor) -> Tensor:
        """Cut (N, C, H, W) into (N, partitions, C, h, w), row by row."""
        channels, h, w = self.part_chw
        x = x.reshape(-1, channels, self.grid, h, self.grid, w)
        return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, self.grid**2, channels, h, w)

    def _join(self, parts: Tensor) -> Tensor:
        """Join (N, partitions, C, h, w) to (N, C, H, W)."""
        channels, h, w = self.part_chw
        x = parts.reshape(-1, self.grid, self.grid, channels, h, w).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(-1, channels, self.grid * h, self.grid * w)


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).sum(dim=-1, keepdim=True) + EPS)


def _entropy(weights: Tensor) -> Tensor:
    """Return the mean over all queries of -sum w log w: low when few items are recalled."""
    return -(weights * torch.log(weights + EPS)).sum(dim=3).mean()
