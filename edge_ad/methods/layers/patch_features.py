"""Patch features of a frozen backbone, as PatchCore's (Roth et al., CVPR 2022, section 3.1).

Each cell of a level's map is averaged with its neighbours; coarser levels are enlarged to the grid
of the finest one; all are joined along the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self, override

from edge_ad.errors import UsageError
from edge_ad.methods.layers.backbone import CHANNELS, Backbone, build_trunk, input_norm
from edge_ad.methods.layers.blocks import SizeHW, unit

Level = Literal[1, 2, 3]
Cells = Literal["plain", "unit", "relative"]


class PatchFeatures(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> features (N, D, H/s, W/s), s the finest level's step.

    `patch` is the side of the neighbourhood. `pooled` are the released code's two dimensions,
    which it reaches by averaging runs of values: first of each level's patch, then of all levels
    together. Without them every channel keeps its own mean, and D is the sum of the channels.
    `cells` are first scaled as `scaled_cells` says.
    """

    def __init__(
        self,
        backbone: Backbone,
        levels: Sequence[Level],
        *,
        patch: int = 3,
        pooled: tuple[int, int] | None = None,
        cells: Cells = "plain",
    ) -> None:
        super().__init__()
        self.name, self.levels, self.patch = backbone, tuple(levels), patch
        self.cells = cells
        self.backbone = build_trunk(backbone, max(levels))
        self.backbone.eval().requires_grad_(requires_grad=False)
        self.norm = input_norm(backbone)
        channels = [CHANNELS[backbone][level - 1] for level in levels]
        kernels = [] if pooled is None else pooling_kernels(channels, patch, *pooled)
        self.kernels = tuple(f"kernel{level}" for level in levels[: len(kernels)])
        for name, kernel in zip(self.kernels, kernels, strict=True):
            self.register_buffer(name, kernel, persistent=False)
        self.dimensions = sum(channels) if pooled is None else pooled[1]

    @override
    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: the backbone is frozen."""
        return super().train(mode=False)

    def forward(self, rgb: Tensor) -> Tensor:
        levels = self.backbone(self.norm(rgb))
        return self.joined([levels[level - 1] for level in self.levels])

    def joined(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the patch features of the backbone's maps, one for each of `self.levels`."""
        levels = scaled_cells(levels, self.cells)
        if not self.kernels:
            return join_levels(levels, self.patch)
        kernels = [self.get_buffer(name) for name in self.kernels]
        half = self.patch // 2
        pairs = zip(levels, kernels, strict=True)
        return _enlarged([F.conv2d(level, kernel, padding=half) for level, kernel in pairs])

    def grid(self, size_hw: SizeHW) -> SizeHW:
        """Return the height and width of the features of an image of this size."""
        step = 2 ** (min(self.levels) + 1)
        return -(-size_hw[0] // step), -(-size_hw[1] // step)


def scaled_cells(levels: Sequence[Tensor], cells: Cells) -> Sequence[Tensor]:
    """Return levels (N, C, h, w) as they are, or with their cells scaled.

    `unit` scales each cell to length 1: what it shows counts, not how strongly, which varies with
    the light and from part to part. `relative` subtracts the level's mean over the image from that:
    what differs within an image counts, and what all of it shows does not.
    """
    if cells == "plain":
        return levels
    levels = [unit(level) for level in levels]
    if cells == "unit":
        return levels
    return [level - level.mean(dim=(2, 3), keepdim=True) for level in levels]


def join_levels(levels: Sequence[Tensor], patch: int = 3) -> Tensor:
    """Average each cell of the levels with its neighbours, enlarge, and join (N, D, h, w).

    Zeros beyond the border count, as in the released code.
    """
    return _enlarged([F.avg_pool2d(x, patch, stride=1, padding=patch // 2) for x in levels])


def _enlarged(levels: Sequence[Tensor]) -> Tensor:
    """Enlarge all levels to the first one's size, and join them along the channels."""
    first, *rest = levels
    size = first.shape[2:]
    larger = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in rest]
    return torch.cat([first, *larger], dim=1)


def pooling_kernels(channels: Sequence[int], patch: int, first: int, last: int) -> list[Tensor]:
    """Return one kernel (last / levels, C, patch, patch) a level: the released code's averages.

    It flattens each patch, channel by channel, and averages runs of it to `first` values; then it
    averages runs of all levels' values to `last`. Both are linear, so a convolution does both.
    """
    levels = len(channels)
    if last % levels:
        raise UsageError(
            f"network.pooled: the second dimension must be a multiple of the {levels} levels, "
            f"got {last}."
        )
    merge = run_means(levels * first, last)
    kernels = []
    for number, width in enumerate(channels):
        rows = slice(number * last // levels, (number + 1) * last // levels)
        columns = slice(number * first, (number + 1) * first)
        both = merge[rows, columns] @ run_means(width * patch * patch, first)
        kernels.append(both.view(last // levels, width, patch, patch))
    return kernels


def run_means(inputs: int, outputs: int) -> Tensor:
    """Return adaptive average pooling from `inputs` to `outputs` values as (outputs, inputs)."""
    number = torch.arange(outputs)[:, None]
    start = number * inputs // outputs
    end = -(-(number + 1) * inputs // outputs)
    place = torch.arange(inputs)
    return ((place >= start) & (place < end)).float() / (end - start)
