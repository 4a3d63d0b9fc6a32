"""What priors need of the normal tiles: collected in one pass, then fitted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig, Prior, level_sizes
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.feature_prior import FeaturePrior
from edge_ad.methods.layers.gaussian_distance import GaussianDistance, Moments
from edge_ad.methods.layers.patch_features import join_levels, scaled_cells
from edge_ad.methods.layers.patch_memory import PatchMemory
from edge_ad.methods.learning.coreset import Candidates


class PriorFitting(nn.Module):
    """Collects the teacher's features of this many normal tiles, and fits the priors asked for.

    A module, so that it is checkpointed with the network.
    """

    def __init__(self, asked: DeSTSegConfig, size_hw: SizeHW, tiles: int) -> None:
        super().__init__()
        self._asked = asked.for_size(size_hw)
        self.moments: Moments | None = None
        self.candidates: Candidates | None = None
        if asked.prior in ("auto", "gaussian"):
            self.moments = Moments(asked.prior_channels)
        if asked.prior in ("auto", "patchcore"):
            height, width = level_sizes(size_hw)[1]
            self.candidates = Candidates(tiles, height * width, asked.prior_channels)

    def add(self, levels: Sequence[Tensor]) -> Tensor:
        """Add the teacher's levels of normal tiles; return their features' mean squared spread."""
        features = join_levels(scaled_cells(levels, self._asked.prior_cells))
        spread = torch.zeros(())
        for part in (self.moments, self.candidates):
            spread = spread if part is None else part.add(features)
        return spread

    def fit(self, net: DeSTSeg) -> dict[Prior, FeaturePrior]:
        """Return the priors of the features that were added."""
        priors: dict[Prior, FeaturePrior] = {}
        if self.moments is not None:
            gaussian = GaussianDistance(self._asked.prior_channels)
            self.moments.fill(gaussian)
            priors["gaussian"] = net.prior_of(gaussian)
        if self.candidates is not None:
            memory = PatchMemory(self._asked.prior_channels, 1)
            memory.remember(self.candidates.coreset(self._asked.prior_rows or 1))
            priors["patchcore"] = net.prior_of(memory)
        return priors
