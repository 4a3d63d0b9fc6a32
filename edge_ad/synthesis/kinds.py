"""Kinds of synthetic anomalies to choose a detector by; some of them no training uses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_ad.frame import Image
from edge_ad.synthesis.anomalies import SynthesisConfig, SyntheticAnomaly, synthesize
from edge_ad.synthesis.fine import add_hairline, add_specks
from edge_ad.synthesis.perlin import Mask
from edge_ad.synthesis.textures import Textures
from edge_ad.synthesis.unseen import add_light_spot, add_seamless_patch

Random = np.random.Generator
REDRAWS = 20
TRAINED = {
    "texture": SynthesisConfig(),
    "structural": SynthesisConfig(structural_share=1.0),
    "cut-paste": SynthesisConfig(cut_paste_share=1.0),
}
UNSEEN: dict[str, Callable[..., tuple[Image, Mask]]] = {
    "seamless patch": add_seamless_patch,
    "light spot": add_light_spot,
    "specks": add_specks,
    "hairline": add_hairline,
}
KINDS = (*TRAINED, *UNSEEN)


def anomaly_of(
    kind: str, tile: Image, textures: Textures, rng: Random, *, grey: bool
) -> SyntheticAnomaly:
    """Add one anomaly of a kind to a tile, drawn again while it cannot be seen.

    The mask is empty only where none of 20 could, as on a uniform tile.
    """
    for _ in range(REDRAWS):
        if kind in TRAINED:
            sample = synthesize(tile, textures, TRAINED[kind], rng, grey=grey)
        else:
            image, mask = UNSEEN[kind](tile, rng, grey=grey)
            sample = SyntheticAnomaly(tile, image, mask)
        if sample.mask.any():
            break
    return sample
