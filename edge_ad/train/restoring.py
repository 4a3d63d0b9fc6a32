"""What the light presets of the methods that judge by restoration have in common."""

from __future__ import annotations

from typing import Any

RESTORER: dict[str, Any] = {
    "batch": 8,
    "steps": 3500,
    "lr": 1e-3,
    # a small net cannot restore the grain of a surface: faint edges must count for little
    "msgms_c": 0.01,
    "msgms_scales": 4,
    "smooth_sigma": 1.0,
    "top_k": 10,
    # and it must learn the part, not the pictures by heart, nor to restore damage
    "damage.anomaly_share": 0.8,
    "damage.marks_share": 0.35,
    "damage.paste_share": 0.35,
    "damage.paste_area": (0.005, 0.05),
    "damage.rotation": "small",
    "damage.rotation_small_deg": 3.0,
}
