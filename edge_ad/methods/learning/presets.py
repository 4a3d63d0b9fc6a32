"""What light presets have in common: a small net must learn the part, not the images by heart."""

from __future__ import annotations

from typing import Any

VARIED: dict[str, Any] = {
    "synthesis.structural_share": 0.35,
    "synthesis.cut_paste_share": 0.35,
    "synthesis.cut_paste_area": (0.005, 0.05),
    "synthesis.rotation": "small",
    "synthesis.rotation_small_deg": 3.0,
}

RESTORER: dict[str, Any] = {
    "batch": 8,
    "steps": 5000,  # some 50 minutes of one core
    "lr": 1e-3,
    # a small net cannot restore the grain of a surface: faint edges must count for little
    "msgms_c": 0.01,
    "msgms_scales": 4,
    "smooth_sigma": 1.0,
    "top_k": 10,
    # nor shall it learn to restore damage
    "synthesis.anomaly_share": 0.8,
    "anomaly_weight": 1.0,
    **VARIED,
}
"""Of methods that judge by restoration."""
