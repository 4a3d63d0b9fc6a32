"""PMB (reconstructed): memories that recall what they hold, and the histogram's cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_ad.errors import UsageError
from edge_ad.methods.pmb.histogram_cut import HistogramCut, above_cut
from edge_ad.methods.pmb.network import METHOD, PMB, PMBConfig
from edge_ad.methods.pmb.partition_memory import PartitionMemory, Query, Shrink
from tests.methods.network_checks import (
    SIZE,
    check_contract,
    check_parity,
    gflops,
    millions,
    shaken,
)

SMALL = PMBConfig(
    widths=(8, 8, 16, 16),
    bottleneck=16,
    partitions=(4, 4, 4, 4),
    items=8,
    shrink="soft",
    smooth_sigma=1.0,
    top_k=20,
)


def _memory(query: Query = "channel", shrink: Shrink = "hard", **more: float) -> PartitionMemory:
    torch.manual_seed(0)
    kept = {"items": 12, "temperature": 1.0, **more}
    return PartitionMemory(
        (6, 8, 12),
        grid=2,
        items=int(kept["items"]),
        query=query,
        shrink=shrink,
        temperature=kept["temperature"],
    )


def test_a_score_of_more_pixels_than_the_map_has_is_refused() -> None:
    many = SMALL.model_copy(update={"top_k": 2000})
    with pytest.raises(UsageError, match=r"top_k 2000.*32x32"):
        PMB(many, (32, 32))
    PMB(many.model_copy(update={"score": "accumulated"}), (32, 32))


def test_cost_is_the_specifications() -> None:
    with torch.device("meta"):
        net = PMB(PMBConfig(), (256, 256))
        assert gflops(net) == pytest.approx(92.5, abs=0.06)
    assert millions(net) == pytest.approx(25.01, abs=0.006)
    assert millions(net.memories) == pytest.approx(4.46, abs=0.006)


@pytest.mark.parametrize("query", ["channel", "block", "pixel"])
@pytest.mark.parametrize("shrink", ["hard", "soft", "none"])
def test_a_memory_keeps_the_shape(query: Query, shrink: Shrink) -> None:
    recalled, entropy = _memory(query, shrink)(torch.randn(3, 6, 8, 12))
    assert recalled.shape == (3, 6, 8, 12)
    assert entropy.item() >= 0


@pytest.mark.parametrize("query", ["channel", "pixel"])
def test_a_memory_of_the_queries_returns_them(query: Query) -> None:
    memory = _memory(query, items=24 if query == "pixel" else 6, temperature=1e-3)
    features = torch.randn(1, 6, 8, 12)
    with torch.no_grad():
        memory.items.copy_(memory.queries(features)[0])
        recalled, entropy = memory(features)
    torch.testing.assert_close(recalled, features, atol=1e-4, rtol=1e-4)
    assert entropy.item() < 1e-3


def test_each_partition_has_its_own_memory() -> None:
    memory = _memory()
    features = torch.randn(1, 6, 8, 12)
    with torch.no_grad():
        before, _ = memory(features)
        memory.items[0] += 1  # the partition at the top left
        after, _ = memory(features)
    changed = (before != after).any(dim=1)[0]
    assert changed[:4, :6].all() and not changed[4:].any() and not changed[:, 6:].any()


def test_cutting_and_joining_are_inverse_for_every_query() -> None:
    features = torch.randn(2, 6, 8, 12)
    for query in ("channel", "block", "pixel"):
        memory = _memory(query)
        assert torch.equal(memory.features(memory.queries(features)), features)


def test_shrinking_drops_weights_below_their_mean() -> None:
    queries = torch.randn(1, 4, 6, 24)
    plain = _memory(shrink="none").address(queries)
    for shrink in ("hard", "soft"):
        weights = _memory(shrink=shrink).address(queries)
        torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 6), atol=1e-3, rtol=0)
        assert torch.equal(weights == 0, plain <= 1 / 12)


def test_the_cut_removes_the_many_small_errors() -> None:
    rng = np.random.default_rng(0)
    error = np.abs(rng.normal(0, 0.021 * np.sqrt(np.pi / 2), (2, 1, 256, 256)))
    error[0, :, 100:120, 100:120] += 0.3
    left = above_cut(torch.tensor(error), HistogramCut()(torch.tensor(error)))
    background = left[0, :, :90]
    assert background.mean().item() < 2e-4
    assert left[0, :, 100:120, 100:120].mean().item() == pytest.approx(0.26, abs=0.01)
    assert (left[1] == 0).double().mean().item() == pytest.approx(0.985, abs=0.005)


@pytest.mark.parametrize("seed", range(6))
def test_the_cut_is_that_of_numpys_histogram(seed: int) -> None:
    rng = np.random.default_rng(seed)
    error = rng.gamma(rng.uniform(0.5, 3), 0.05, (1, 1, 40, 50)).astype(np.float32)
    counts, edges = np.histogram(error, bins=16, range=(0, error.max()))
    peak = int(counts.argmax())
    quiet = [j for j in range(peak + 1, 16) if counts[j] <= 0.05 * counts[peak]]
    expected = edges[quiet[0] if quiet else peak + 1]
    cut = HistogramCut(bins=16)(torch.from_numpy(error))
    assert cut.item() == pytest.approx(expected, rel=1e-5)


def test_without_a_quiet_bin_the_peaks_upper_edge_is_the_cut() -> None:
    error = torch.linspace(0, 1, 64).view(1, 1, 8, 8)
    assert HistogramCut(bins=4)(error).item() == pytest.approx(0.25, abs=1e-6)


def test_negligible_errors_are_zero() -> None:
    error = torch.rand(1, 1, 8, 8) * 1e-7
    assert not above_cut(error, HistogramCut()(error)).any()


def test_levels_without_memory_have_none() -> None:
    net = PMB(SMALL.model_copy(update={"lateral": ("skip", "pmb", "skip", "skip")}), SIZE)
    assert list(net.memories) == ["1"]


def test_skips_everywhere_have_no_entropy() -> None:
    net = PMB(SMALL.model_copy(update={"lateral": ("skip",) * 4}), SIZE)
    assert net.restore(torch.rand(2, 3, *SIZE))[1].item() == 0


@pytest.mark.parametrize("hee", ["exact", "frozen", "off"])
@pytest.mark.parametrize("score", ["top", "accumulated"])
def test_the_contract_holds(hee: str, score: str) -> None:
    config = SMALL.model_copy(update={"hee": hee, "score": score})
    net = shaken(PMB(config, SIZE))
    net.cut.fill_(0.1)  # type: ignore[operator]
    check_contract(net, METHOD.score(config, SIZE))


def test_the_error_of_edges_ignores_brightness() -> None:
    image = torch.rand(1, 3, *SIZE) * 0.5
    brighter = image + 0.3
    errors = {
        error: PMB(SMALL.model_copy(update={"error": error}), SIZE).difference(image, brighter)
        for error in ("absolute", "squared", "msgms")
    }
    inside = (..., slice(8, -8), slice(8, -8))  # beyond the rim an image is dark
    assert errors["absolute"].mean().item() == pytest.approx(0.3, abs=1e-5)
    assert errors["squared"].mean().item() == pytest.approx(0.09, abs=1e-5)
    assert errors["msgms"][inside].abs().max().item() < 1e-3


def test_behind_the_mosaic_only_means_of_tiles_count() -> None:
    torch.manual_seed(0)
    one = torch.rand(1, 3, *SIZE)
    other = one.reshape(1, 3, SIZE[0], -1, 2).flip(4).reshape(one.shape)  # neighbours swapped
    hidden, shown = PMB(SMALL.model_copy(update={"mosaic_px": 4}), SIZE), PMB(SMALL, SIZE)
    for net in (hidden, shown):
        shaken(net)
    with torch.inference_mode():
        torch.testing.assert_close(hidden.restore(one)[0], hidden.restore(other)[0])
        assert not torch.allclose(shown.restore(one)[0], shown.restore(other)[0])


def test_a_mosaic_that_does_not_divide_the_size_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple"):
        PMB(SMALL.model_copy(update={"mosaic_px": 48}), SIZE)


def test_a_frozen_cut_travels_with_the_weights() -> None:
    net = PMB(SMALL, SIZE)
    net.cut.fill_(0.25)
    other = PMB(SMALL, SIZE)
    other.load_state_dict(net.state_dict())
    assert other.cut.item() == 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hee", "error", "mosaic_px"),
    [("frozen", "squared", 1), ("off", "msgms", 4)],
)
def test_onnx_runtime_agrees_with_torch(
    tmp_path: Path, hee: str, error: str, mosaic_px: int
) -> None:
    config = {"hee": hee, "error": error, "mosaic_px": mosaic_px}
    net = shaken(PMB(SMALL.model_copy(update=config), SIZE), by=0.02)
    net.cut.fill_(0.05)  # type: ignore[operator]
    check_parity(net, tmp_path)


def test_partitions_that_do_not_divide_the_size_are_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 48"):
        PMB(SMALL.model_copy(update={"partitions": (3, 1, 3, 1)}), (64, 64))
