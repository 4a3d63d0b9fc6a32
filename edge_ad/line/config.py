"""The settings of one inspection line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_ad.engine import Engine, EngineOptions, open_engine
from edge_ad.line.alarm import AlarmRule, PartRule


@dataclass(frozen=True)
class LineConfig:
    """Cameras, engine, thresholds, alarm rule and outlets of a line.

    `cameras` and `outlets` are URIs; a camera may have a name (`top=rtsp://…`). A threshold of None
    is read from the engine's sidecar. `expected_anomalous` is the share of parts that are
    anomalous, for the check of the reject rate; `frames_per_part` is how many frames in a row show
    one part, by default as the threshold says. `part` says what one part is; with PartRule.FRAME
    `rule` only decides when a camera fault ends. A verdict later than `verdict_within_s` after a
    live frame's capture, or a file's turn, is INVALID. With a `trigger` other than "free", each
    part is the next frame captured `trigger_delay_s` after it; it is missed when that frame does
    not come within `trigger_within_s` more, or the verdict within `verdict_within_s` from the
    trigger. `geometry` replaces parts of the geometry
    that the engine was trained with: any of `roi_xywh`, `ignore`, `tiles` and `overlap`. `frames`
    limits each camera, 0 means no limit. `bit_depth` is that of 16-bit cameras and files, None for
    that of the training images. With `require_cameras`, a camera that is absent at the start is an
    error; without, it is a camera fault.
    """

    cameras: tuple[str, ...]
    engine: Path
    geometry: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    pixel_threshold: float | None = None
    expected_anomalous: float = 0.0
    frames_per_part: int | None = None
    part: PartRule = PartRule.STREAM
    verdict_within_s: float = math.inf
    trigger: str = "free"
    trigger_delay_s: float = 0.0
    trigger_within_s: float = 1.0
    rule: AlarmRule = field(default_factory=AlarmRule)
    outlets: tuple[str, ...] = ()
    frames: int = 0
    bit_depth: int | None = None
    timeout_s: float = 10.0
    reopen_for_s: float = math.inf
    require_cameras: bool = False
    engine_options: EngineOptions = field(default_factory=EngineOptions)

    def open_engine(self) -> Engine:
        """Load and warm up the engine."""
        return open_engine(self.engine, self.engine_options, adapt_threads=True)
