"""The tiles that a finished training chooses by: held-out normal ones and anomalous copies."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge_ad.frame import Image
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.synthesis.kinds import KINDS, anomaly_of
from edge_ad.synthesis.textures import Textures
from edge_ad.training.data import batch_of

SAMPLES = (63, 154)  # minimum and maximum; an equal number of each kind


def selection_batch(
    tiles: Image, indices: NDArray[np.intp], textures: Textures, *, seed: int, grey: bool
) -> Batch:
    """Return tiles with anomalies of every kind in turn, the same for every method.

    Few tiles serve several times, many are thinned out evenly.
    """
    count = int(np.clip(len(indices), *SAMPLES))
    chosen = [int(indices[number * len(indices) // count]) for number in range(count)]
    # neighbours often show one part; kinds are dealt so that each meets all of them
    kinds = [number % len(KINDS) for number in range(count)]
    samples = [
        anomaly_of(KINDS[kind], tiles[tile], textures, np.random.default_rng([seed, 3, number]),
                   grey=grey)
        for number, (tile, kind) in enumerate(zip(chosen, kinds, strict=True))
    ]  # fmt: skip
    return batch_of(samples, chosen)._replace(kind=torch.tensor(kinds))


@torch.inference_mode()
def selection_score(module: nn.Module, held_out: Batch, device: torch.device) -> float:
    """Return the selection score of a network's present map; its training mode is kept."""
    training = {part: part.training for part in module.modules()}
    figures = measure(held_out, lambda rgb: {"map": module.eval()(rgb.to(device))[:2]})["map"]
    for part, mode in training.items():
        part.training = mode
    return float(figures["selection_score"])
