"""Which of DeSTSeg's branches becomes the map, with which prior: measured on held-back tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from edge_ad.methods.destseg.network import (
    MOST_PIXELS,
    PRIOR,
    Branch,
    DeSTSeg,
    DeSTSegConfig,
    Prior,
)
from edge_ad.methods.layers.feature_prior import FeaturePrior, ScoreSpread
from edge_ad.methods.layers.patch_memory import PatchMemory
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import BATCH_SIZE, best, measure
from edge_ad.methods.learning.trainer import BranchChoice

WHY = "highest selection score on held-out normal tiles and synthetic anomalies of all kinds"
NAMED = "named by the user"
TOP_K_GAIN = 0.005  # of the selection score; a smaller one is chance
PRIOR_LOSS = 0.01  # of the selection score; a smaller one is chance, and two detectors err less
PREFERRED: tuple[Prior, ...] = ("patchcore", "gaussian", "none")  # of near equals
Priors = Mapping[Prior, FeaturePrior]
Spreads = Mapping[str, ScoreSpread]  # by branch and by prior


class MapSource(NamedTuple):
    """A branch, and the prior that is added to its map."""

    branch: Branch
    prior: Prior

    @property
    def title(self) -> str:
        return self.branch if self.prior == "none" else f"{self.branch}+{self.prior}"

    def is_asked(self, asked: DeSTSegConfig) -> bool:
        """Return whether it agrees with a configuration, where `auto` is anything."""
        return asked.branch in ("auto", self.branch) and asked.prior in ("auto", self.prior)


def choose_map(
    net: DeSTSeg, asked: DeSTSegConfig, priors: Priors, held_back: Batch
) -> BranchChoice:
    """Give the network the branch and the prior that are asked for, or the best where it is `auto`.

    `priors` are fitted. The number of pixels that the score averages is chosen with the branch,
    unless it is set or a prior was calibrated with the usual number.
    """
    spreads = _normal_scores(net, priors, held_back.normal)
    measured = measure(held_back, lambda rgb: _outputs(net, rgb, priors, spreads))
    asked_for = {source.title: source for source in _sources(priors) if source.is_asked(asked)}
    source = best_source(asked_for, measured)
    _install(net, source, priors, spreads)
    why = NAMED if len(asked_for) == 1 else WHY
    report: dict[str, Any] = {**source._asdict(), "why": why, "measured": measured}
    if asked.branch == "auto" and asked.top_k is None and net.prior is None:
        pixels = measure(held_back, lambda rgb: _pixel_counts(net, rgb))
        net.config = net.config.model_copy(update={"top_k": best_top_k(net.top_k, pixels)})
        report |= {"top_k": net.config.top_k, "top_k_measured": pixels}
    return BranchChoice(net.config, report)


def best_source(
    sources: Mapping[str, MapSource], measured: Mapping[str, Mapping[str, Any]]
) -> MapSource:
    """Return the source, by title, of the highest selection score; of near equals one with a prior.

    The trained nets and the distance of frozen features err in different places, so their sum is
    the safer one where the measurement cannot tell.
    """
    scores = {source: measured[title]["selection_score"] for title, source in sources.items()}
    least = max(scores.values()) - PRIOR_LOSS
    near = {source.prior for source, score in scores.items() if score >= least}
    prior = next(name for name in PREFERRED if name in near)
    return max((s for s in scores if s.prior == prior), key=scores.__getitem__)


def best_top_k(usual: int, measured: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the number of pixels of the highest selection score; the usual one of near equals."""
    first = best(measured)
    gain = measured[first]["selection_score"] - measured[str(usual)]["selection_score"]
    return int(first) if gain > TOP_K_GAIN else usual


def _sources(priors: Priors) -> list[MapSource]:
    """Return every branch without a prior, then with each."""
    names: list[Prior] = ["none", *priors]
    return [MapSource(branch, prior) for prior in names for branch in get_args(Branch)]


def _maps(net: DeSTSeg, rgb: Tensor, priors: Priors) -> dict[str, Tensor]:
    """Return the map (N, H, W) of every branch and of every prior."""
    teacher, student = net.levels(rgb)
    directions = net.directions(teacher), net.directions(student)
    maps: dict[str, Tensor] = {name: net.branch_map(name, *directions) for name in get_args(Branch)}
    return maps | {name: prior.distance(teacher[PRIOR]) for name, prior in priors.items()}


def _normal_scores(net: DeSTSeg, priors: Priors, normal: Tensor) -> Spreads:
    """Return the scores' spread of every map on normal tiles; nothing without priors."""
    if not priors:
        return {}
    parts = [_maps(net, rgb, priors) for rgb in torch.split(normal, BATCH_SIZE)]
    return {
        name: ScoreSpread.of(torch.cat([net.score(part[name]) for part in parts]))
        for name in parts[0]
    }


def _outputs(
    net: DeSTSeg, rgb: Tensor, priors: Priors, spreads: Spreads
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return maps and scores of every source."""
    maps, outputs = _maps(net, rgb, priors), {}
    for source in _sources(priors):
        values = maps[source.branch]
        if source.prior != "none":
            prior = priors[source.prior]
            prior.calibrate(spreads[source.branch], spreads[source.prior])
            values = prior.fused(values, maps[source.prior])
        outputs[source.title] = (values, net.score(values))
    return outputs


def _install(net: DeSTSeg, source: MapSource, priors: Priors, spreads: Spreads) -> None:
    """Make a source the network's map."""
    net.prior = priors.get(source.prior)
    rows: int | None = None
    if net.prior is not None:
        net.prior.calibrate(spreads[source.branch], spreads[source.prior])
        if isinstance(net.prior.nearness, PatchMemory):
            rows = net.prior.nearness.rows.out_channels
    net.config = net.config.model_copy(update={**source._asdict(), "prior_rows": rows})


def _pixel_counts(net: DeSTSeg, rgb: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the map with the score from a quarter, one and four times the usual pixels."""
    values, _ = net(rgb)
    most = min(MOST_PIXELS, values[0].numel())
    counts = sorted({max(1, net.top_k // 4), net.top_k, min(most, 4 * net.top_k)})
    top = torch.topk(values.flatten(1), counts[-1], dim=1).values
    return {str(count): (values, top[:, :count].mean(dim=1)) for count in counts}
