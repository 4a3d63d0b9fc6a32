"""Other light on a normal tile: exposure, contrast curve and shading, as between two shifts."""

from __future__ import annotations

import numpy as np

from edge_ad.frame import Image

Random = np.random.Generator


def vary_light(tile: Image, stops: float, rng: Random) -> Image:
    """Return a tile with exposure changed by up to `stops`, and gamma and shading by half of that.

    Shading is a straight ramp of brightness in any direction. Saturated pixels are clipped.
    """
    height, width = tile.shape[:2]
    exposure = rng.uniform(-stops, stops)
    gamma = 2.0 ** rng.uniform(-stops / 2, stops / 2)
    slope, angle = rng.uniform(0, stops / 2), rng.uniform(0, 2 * np.pi)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    gain = 2.0 ** (exposure + slope * (np.cos(angle) * x + np.sin(angle) * y))
    curve = (np.arange(256, dtype=np.float32) / 255) ** np.float32(gamma) * 255
    return np.asarray(np.clip(curve[tile] * gain[..., None] + 0.5, 0, 255), np.uint8)
