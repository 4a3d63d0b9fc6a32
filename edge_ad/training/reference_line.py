"""The line that every training is compared with: untrained detectors on the same held-back tiles.

A net that does not beat a memory of frozen features was not worth its training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_ad.errors import EdgeAdError
from edge_ad.methods.gaussian.network import Gaussian, GaussianConfig
from edge_ad.methods.layers.backbone import Backbone, backbone_of, load_backbone
from edge_ad.methods.layers.gaussian_distance import Moments
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.coreset import greedy_coreset
from edge_ad.methods.patchcore.network import PatchCore, PatchCoreConfig
from edge_ad.training.data import BatchSampler

TILES, PER_TILE, ROWS = 64, 256, 500  # bound the cost to seconds on a CPU


@torch.inference_mode()
def reference_line(
    sampler: BatchSampler, held_back: Batch, size_hw: tuple[int, int], teacher: Path | None
) -> dict[str, Any]:
    """Return the figures of a Gaussian and of a small PatchCore on held-back tiles.

    Both use the backbone of `teacher` and up to 64 of the tiles to train on. Without a backbone's
    weights the result has only `skipped`, the reason. torch's generator is left as it was.
    """
    backbone = _light_backbone(teacher)
    if backbone is None:
        return {"skipped": "no weights of a light backbone: --teacher FILE"}
    began = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sampler.seed)
        gaussian = Gaussian(GaussianConfig(backbone=backbone), size_hw)
        load_backbone(gaussian.features.backbone, backbone, teacher, "The reference line")
        config = PatchCoreConfig(backbone=backbone, rows=ROWS, smooth_sigma=None)
        memory = PatchCore(config, size_hw)
        memory.features = gaussian.features.eval()
        _fit(gaussian, memory, sampler)
    nets = {"gaussian": gaussian, "patchcore": memory}
    figures = {name: _figures(net, held_back) for name, net in nets.items()}
    tiles = min(TILES, len(sampler.indices))
    seconds = round(time.monotonic() - began, 1)
    return {**figures, "tiles": tiles, "rows": memory.config.rows, "seconds": seconds}


def _light_backbone(teacher: Path | None) -> Backbone | None:
    """Return the backbone whose weights a file holds, unless it takes minutes on a CPU."""
    try:
        backbone = backbone_of(teacher) if teacher else None
    except EdgeAdError:
        return None
    return None if backbone == "wide_resnet50_2" else backbone


def _figures(net: nn.Module, held_back: Batch) -> dict[str, float]:
    return measure(held_back, lambda rgb: {"map": net(rgb)})["map"]


def _fit(gaussian: Gaussian, memory: PatchCore, sampler: BatchSampler) -> None:
    moments, patches = Moments(gaussian.features.dimensions), []
    for rgb in _tiles(sampler):
        features = gaussian.features(rgb)
        moments.add(features)
        rows = features[0].flatten(1).T
        patches.append(rows[torch.randperm(len(rows))[:PER_TILE]])
    moments.fill(gaussian.gaussian)
    collected = torch.cat(patches)
    memory.remember(collected[greedy_coreset(collected, ROWS)])


def _tiles(sampler: BatchSampler) -> Iterator[Tensor]:
    """Yield evenly spaced training tiles as rgb float32 (1, 3, H, W)."""
    count = min(TILES, len(sampler.indices))
    for place in np.linspace(0, len(sampler.indices) - 1, count).round().astype(int):
        rgb = np.ascontiguousarray(sampler.tiles[sampler.indices[place], ..., ::-1])
        yield torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
