"""A vision transformer with DINO's parameter names (Dosovitskiy et al. 2021; Caron et al. 2021).

Only what EAR needs: the attention of the last block's class token to every patch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6  # of every layer norm, as in DINO


class ViTShape(NamedTuple):
    """Patch side in pixels, width of a token, attention heads, blocks."""

    patch: int
    width: int
    heads: int
    depth: int = 12


SHAPES = {
    "dino_vits8": ViTShape(8, 384, 6),
    "dino_vits16": ViTShape(16, 384, 6),
    "dino_vitb8": ViTShape(8, 768, 12),
}


class SelfAttention(nn.Module):
    """Self-attention; `cls_row` returns the class token's attention instead of the new tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._split(self.qkv(x))
        x = torch.softmax(q @ k.transpose(2, 3) * self.scale, dim=3) @ v
        mixed: Tensor = self.proj(x.transpose(1, 2).flatten(2))
        return mixed

    def cls_row(self, x: Tensor) -> Tensor:
        """Return the class token's attention (N, heads, patches) for (N, 1 + patches, width)."""
        q, k, _ = self._split(self.qkv(x))
        weights = torch.softmax(q[:, :, :1] @ k.transpose(2, 3) * self.scale, dim=3)
        return weights[:, :, 0, 1:]

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v, each (N, heads, tokens, width / heads)."""
        count, tokens, width = qkv.shape
        parts = qkv.view(count, tokens, 3, self.heads, width // 3 // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        inner = F.gelu(self.mlp["fc1"](self.norm2(x)))
        y: Tensor = x + self.mlp["fc2"](inner)
        return y


class PatchEmbed(nn.Module):
    """Non-overlapping patches as tokens. (N, 3, H, W) -> (N, patches, width)."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens


class ViT(nn.Module):
    """Normalised rgb (N, 3, H, W) -> attention of the class token (N, 1, H/patch, W/patch).

    H and W are fixed: the position embedding is stored for this grid.
    """

    def __init__(self, shape: ViTShape, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.grid_hw = (size_hw[0] // shape.patch, size_hw[1] // shape.patch)
        self.patch_embed = PatchEmbed(shape.patch, shape.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        tokens = 1 + self.grid_hw[0] * self.grid_hw[1]
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, shape.width))
        self.blocks = nn.ModuleList(
            TransformerBlock(shape.width, shape.heads) for _ in range(shape.depth)
        )
        self.norm = nn.LayerNorm(shape.width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        *most, last = self.blocks
        x = self._tokens(x)
        for block in most:
            x = block(x)
        assert isinstance(last, TransformerBlock)
        heads = last.attn.cls_row(last.norm1(x))
        return heads.mean(dim=1).view(-1, 1, *self.grid_hw)

    def _tokens(self, x: Tensor) -> Tensor:
        patches = self.patch_embed(x)
        cls = self.cls_token.expand(patches.shape[0], -1, -1)
        return torch.cat([cls, patches], dim=1) + self.pos_embed


def fitted_positions(pos_embed: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Interpolate a position embedding (1, 1 + side^2, width), bicubic, to another grid."""
    cls, patches = pos_embed[:, :1], pos_embed[:, 1:]
    side = int(patches.shape[1] ** 0.5)
    if (side, side) == grid_hw:
        return pos_embed
    square = patches.transpose(1, 2).reshape(1, -1, side, side)
    resized = F.interpolate(square, size=grid_hw, mode="bicubic", align_corners=False)
    return torch.cat([cls, resized.flatten(2).transpose(1, 2)], dim=1)
