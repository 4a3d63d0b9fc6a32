"""PatchCore against its authors' pipeline, written out step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.manifest import Score
from edge_ad.methods.layers.map_upscale import blur_matrix, enlarge_matrix
from edge_ad.methods.layers.patch_features import PatchFeatures
from edge_ad.methods.patchcore.network import PatchCore, PatchCoreConfig
from tests.methods.network_checks import (
    check_contract,
    check_parity,
    frames,
    shaken,
    torch_answer,
)

SIZE = (64, 96)
Distances = NDArray[np.float64]


def _net(rows: int = 40, seed: int = 0, **config: object) -> PatchCore:
    """Build a network whose memory are the patches of random images."""
    net = shaken(PatchCore(PatchCoreConfig(rows=rows, **config), SIZE), seed=seed)  # type: ignore[arg-type]
    assert isinstance(net, PatchCore)
    with torch.no_grad():
        patches = net.features(torch.rand(2, 3, *SIZE)).flatten(2).transpose(1, 2).flatten(0, 1)
    net.remember(patches[torch.randperm(len(patches))[:rows]])
    return net


def _authors_features(net: PatchCore, rgb: Tensor, pooled: tuple[int, int] | None) -> Tensor:
    """Compute patch features as the released code does: unfold, enlarge each place, average."""
    features = net.features
    levels = [features.backbone(features.norm(rgb))[level - 1] for level in features.levels]
    patches = []
    for level in levels:
        n, c, h, w = level.shape
        unfolded = F.unfold(level, 3, padding=1).reshape(n, c * 9, h, w)
        patches.append(F.interpolate(unfolded, size=levels[0].shape[2:], mode="bilinear"))
    flat = [x.permute(0, 2, 3, 1).flatten(0, 2) for x in patches]  # one row for each patch
    if pooled is None:
        return torch.cat([x.reshape(len(x), -1, 9).mean(dim=2) for x in flat], dim=1)
    first = [F.adaptive_avg_pool1d(x[:, None], pooled[0])[:, 0] for x in flat]
    stacked = torch.stack(first, dim=1).flatten(1)
    return F.adaptive_avg_pool1d(stacked[:, None], pooled[1])[:, 0]


def _brute_force(queries: Tensor, memory: Tensor) -> Distances:
    a, b = queries.double().numpy(), memory.double().numpy()
    squares: Distances = np.square(a[:, None] - b[None]).sum(axis=2)
    return squares  # as faiss' flat index


@pytest.mark.parametrize("pooled", [None, (100, 64), (300, 128)])
def test_map_and_score_are_those_of_the_authors_pipeline(pooled: tuple[int, int] | None) -> None:
    net = _net(pooled=pooled)
    generator = torch.Generator().manual_seed(5)
    memory_of, query = torch.rand(2, 2, 3, *SIZE, generator=generator)
    with torch.no_grad():
        memory = _authors_features(net, memory_of, pooled)[::5]
        net.remember(net.features(memory_of).flatten(2).transpose(1, 2).flatten(0, 1)[::5])
        anomaly_map, score = net(query)
        distances = _brute_force(_authors_features(net, query, pooled), memory).min(axis=1)
    grid = distances.reshape(2, SIZE[0] // 8, SIZE[1] // 8)
    np.testing.assert_allclose(score.numpy(), grid.max(axis=(1, 2)), rtol=1e-4)
    large = F.interpolate(torch.from_numpy(grid)[:, None], size=SIZE, mode="bilinear")[:, 0]
    expected = [gaussian_filter(values, sigma=4) for values in large.numpy()]
    np.testing.assert_allclose(anomaly_map.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_unit_cells_ignore_how_strong_a_cells_response_is() -> None:
    features = PatchFeatures("resnet18", (2, 3), cells="unit")
    generator = torch.Generator().manual_seed(0)
    levels = [torch.rand(1, 128, 6, 8, generator=generator), torch.rand(1, 256, 3, 4)]
    stronger = [level * (1 + 4 * torch.rand(1, 1, *level.shape[2:])) for level in levels]
    torch.testing.assert_close(features.joined(stronger), features.joined(levels))
    cell = F.normalize(levels[0], dim=1)[0, :, 1:4, 1:4].mean(dim=(1, 2))  # of 3x3, the border off
    torch.testing.assert_close(features.joined(levels)[0, :128, 2, 2], cell)
    features.cells = "relative"
    inside = (..., slice(1, -1), slice(1, -1))  # zeros beyond the border count
    even = [F.normalize(torch.ones_like(x), dim=1) for x in levels]
    torch.testing.assert_close(features.joined(even)[inside], torch.zeros(1, 384, 4, 6))
    features.cells = "plain"
    assert not torch.allclose(features.joined(stronger), features.joined(levels))


def test_a_remembered_image_has_distance_zero() -> None:
    net = _net()
    rgb = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        patches = net.features(rgb).flatten(2).transpose(1, 2).flatten(0, 1)
        net.remember(patches)
        anomaly_map, score = net(rgb)
    assert float(score) <= 1e-4 * float(patches.var(dim=0).sum())
    assert float(anomaly_map.min()) >= 0


def test_the_weighted_score_is_equation_7() -> None:
    net = _net(rows=60, score="weighted", neighbours=5)
    rgb = torch.rand(3, 3, *SIZE)
    with torch.no_grad():
        queries = net.features(rgb).flatten(2).transpose(1, 2)
        memory = (net.memory.rows.weight[:, :, 0, 0] / -2) + net.memory.centre[:, 0, 0]
        scores = net(rgb)[1].numpy()
    for observed, query in zip(scores, queries, strict=True):
        distances = np.sqrt(_brute_force(query, memory))
        patch = distances.min(axis=1).argmax()
        row = distances[patch].argmin()
        near = np.argsort(np.sqrt(_brute_force(memory[row : row + 1], memory))[0])[:5]
        weight = 1 - np.exp(distances[patch, row]) / np.exp(distances[patch, near]).sum()
        assert observed == pytest.approx(weight * distances[patch, row], rel=1e-3)


@pytest.mark.parametrize(
    "score", [pytest.param(s, marks=pytest.mark.slow) for s in ("patches", "map")] + ["weighted"]
)
def test_the_exported_graph_agrees_with_torch(score: str, tmp_path: Path) -> None:
    net = _net(score=score, cells="relative" if score == "weighted" else "unit")
    largest = float(torch_answer(net, frames(2)).maps.max())
    operators = check_parity(net, tmp_path, tolerance=1e-5 * largest)
    assert operators["ReduceMin"] >= 1 and operators["Conv"] >= 1


def test_the_line_can_compute_the_maps_score_again() -> None:
    check_contract(_net(score="map"), Score())


def test_blur_and_enlargement_are_scipys_and_torchs() -> None:
    line = np.random.default_rng(0).random(20)
    for sigma in (1.0, 4.0, 9.0):  # the widest reaches beyond both ends
        expected = gaussian_filter(line, sigma=sigma)
        observed = blur_matrix(20, sigma).double() @ torch.from_numpy(line)
        np.testing.assert_allclose(observed.numpy(), expected, atol=1e-6)
    grid = torch.rand(1, 1, 5)
    larger = F.interpolate(grid, size=32, mode="linear", align_corners=False)[0, 0]
    torch.testing.assert_close(enlarge_matrix(5, 32) @ grid[0, 0], larger)


def test_rows_follow_the_share_of_the_backbones_cost() -> None:
    half, whole = (
        PatchCoreConfig(distance_share=share).for_size((224, 224)).rows for share in (0.5, 1.0)
    )
    assert half is not None and whole is not None
    assert 1000 < half < 4000 and abs(whole - 2 * half) <= 1
    assert PatchCoreConfig(rows=7).for_size((224, 224)).rows == 7


def test_dimensions_that_the_levels_cannot_share_are_refused() -> None:
    with pytest.raises(UsageError, match=r"multiple of the 2 levels, got 65"):
        PatchCore(PatchCoreConfig(pooled=(100, 65), rows=8), SIZE)
