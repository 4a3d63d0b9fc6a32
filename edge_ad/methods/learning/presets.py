"""Settings that several methods' `edge` presets share.

A small network must learn the part, not memorise the images, so parts are slightly rotated and
anomalies of several kinds are drawn.
"""

from __future__ import annotations

from typing import Any

# what papers do: train on all images, with textures of any colour
ALL_AS_PUBLISHED: dict[str, Any] = {
    "set_aside.selection": 0.0,
    "set_aside.threshold": 0.0,
    "synthesis.match_colour": False,
}

VARIED: dict[str, Any] = {
    "synthesis.structural_share": 0.35,
    "synthesis.cut_paste_share": 0.35,
    "synthesis.cut_paste_area": (0.005, 0.05),
    "synthesis.rotation": "small",
    "synthesis.rotation_small_deg": 3.0,
}

RESTORATION: dict[str, Any] = {
    "batch": 8,
    "steps": 5000,  # about 50 minutes of one core
    "lr": 1e-3,
    # a small network cannot restore the grain of a surface: faint edges must count for little
    "network.msgms_c": 0.01,
    "network.msgms_scales": 4,
    "network.smooth_sigma": 1.0,
    "network.top_k": 10,
    # and it must not learn to restore anomalies
    "synthesis.anomaly_share": 0.8,
    "anomaly_weight": 1.0,
    **VARIED,
}
"""For methods that compare an image with its restoration."""
