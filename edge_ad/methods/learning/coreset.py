"""A small subset of patches that covers all (Roth et al., CVPR 2022, section 3.2 and the code)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PROJECTED = 128  # dimensions in which distances are compared
CANDIDATE_BYTES = 1 << 30  # of patches to choose from
STARTS = 10  # random patches, farthest from which the first choice lies


class Candidates(nn.Module):
    """Patches of this many tiles to choose from; a module, so that it is checkpointed.

    Of a tile's `cells` those beyond CANDIDATE_BYTES in all are thinned out at random.
    """

    patches: Tensor
    filled: Tensor

    def __init__(self, tiles: int, cells: int, dimensions: int) -> None:
        super().__init__()
        self._per_tile = max(1, min(cells, CANDIDATE_BYTES // (4 * dimensions * tiles)))
        self.register_buffer("patches", torch.zeros(tiles * self._per_tile, dimensions))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, features: Tensor) -> Tensor:
        """Add the patches of features (n, D, h, w); return their mean squared spread."""
        patches = features.float().flatten(2).transpose(1, 2)
        if self._per_tile < patches.shape[1]:
            places = torch.randperm(patches.shape[1])[: self._per_tile].to(patches.device)
            patches = patches[:, places]
        rows = patches.flatten(0, 1)
        start = int(self.filled)
        self.patches[start : start + len(rows)] = rows
        self.filled += len(rows)
        return rows.var(dim=0).sum()

    def coreset(self, rows: int) -> Tensor:
        """Return this many of the patches added, or all of them if they are fewer."""
        collected = self.patches[: int(self.filled)]
        return collected[greedy_coreset(collected, rows)]


def greedy_coreset(features: Tensor, rows: int) -> Tensor:
    """Return the numbers (rows,) of features (n, D), each the farthest from those before it.

    Distances are those of a random projection. Random numbers come from torch's generator.
    """
    rows = min(rows, len(features))
    projected = project(features)
    squares = projected.square().sum(dim=1)

    def distances_to(number: int) -> Tensor:
        products = projected @ projected[number]
        return (squares + squares[number] - 2 * products).clamp_(min=0)

    starts = torch.randperm(len(features))[:STARTS].tolist()
    mean = torch.stack([distances_to(start).sqrt() for start in starts]).mean(dim=0)
    uncovered = mean.square()
    chosen = []
    for _ in range(rows):
        number = int(uncovered.argmax())
        chosen.append(number)
        torch.minimum(uncovered, distances_to(number), out=uncovered)
    return torch.tensor(chosen)


def project(features: Tensor) -> Tensor:
    """Project features (n, D) to 128 dimensions by a random matrix; fewer stay as they are.

    The matrix is that of an untrained linear layer, as in the released code; only the order of
    distances matters.
    """
    dimensions = features.shape[1]
    if dimensions <= PROJECTED:
        return features
    layer = nn.Linear(dimensions, PROJECTED, bias=False)
    with torch.no_grad():
        return torch.cat([layer.to(part)(part) for part in torch.split(features, 1 << 16)])
