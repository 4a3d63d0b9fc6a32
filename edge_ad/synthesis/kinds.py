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
FINE = ("specks", "hairline")  # counted in pixels, not in shares of the tile
KINDS = (*TRAINED, *UNSEEN)


def anomaly_of(
    kind: str,
    tile: Image,
    textures: Textures,
    rng: Random,
    *,
    grey: bool,
    across: tuple[float, float] | None = None,
) -> SyntheticAnomaly:
    """Add one anomaly of a kind to a tile, drawn again while it cannot be seen.

    The mask is empty only where none of 20 could, as on a uniform tile. `across` is the range of
    the width of fine kinds, in pixels of the tile.
    """
    sized = {} if across is None or kind not in FINE else {"across": across}
    for _ in range(REDRAWS):
        if kind in TRAINED:
            sample = synthesize(tile, textures, TRAINED[kind], rng, grey=grey)
        else:
            image, mask = UNSEEN[kind](tile, rng, grey=grey, **sized)
            sample = SyntheticAnomaly(tile, image, mask)
        if sample.mask.any():
            break
    return sample
