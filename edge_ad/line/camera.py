"""One camera of a line: its source with what judges, counts and records its frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edge_ad.errors import SourceLost
from edge_ad.frame import BadFrame
from edge_ad.inspection import Inspection
from edge_ad.line.alarm import Alarm
from edge_ad.line.drift import ExpectedImages
from edge_ad.line.inspector import Inspector
from edge_ad.line.pause import Pause
from edge_ad.line.recorder import Recorder
from edge_ad.line.reopening import BackOff, Damping
from edge_ad.line.tally import Tally
from edge_ad.line.trigger import Missed, Trigger
from edge_ad.manifest import Threshold
from edge_ad.setting import Setting
from edge_ad.source import Source


@dataclass
class Camera:
    """One source with its inspector and alarm; `reopen` opens the source again after a loss.

    `is_there` says cheaply whether a lost camera is back; `back_off` decides when it is tried. With
    a `trigger`, `source` and `reopen` deliver triggered frames only; a `software_trigger` is fired
    by programs. With its `own_trigger` (an input of the camera) every frame is a part. `expected`
    is what its images are like. `configured` is what the configuration says about settings that may
    be changed while the line runs, with all that they depend on. `stored` is the threshold beside
    `engine`, a file, if it fits the camera's geometry. `loss` is a loss during a pause,
    which becomes a fault when the camera is resumed.
    """

    source: Source
    reopen: Callable[[], Source]
    inspector: Inspector
    alarm: Alarm
    tally: Tally
    name: str = ""  # the source's name when empty
    dropped_before: int = 0  # by sources that were lost and reopened
    reopened: int = 0
    error: Exception | None = None
    is_there: Callable[[], bool] | None = None
    trigger: Trigger | None = None
    software_trigger: bool = False
    own_trigger: bool = False
    expected: ExpectedImages = field(default_factory=ExpectedImages)
    configured: Mapping[Setting, Any] = field(default_factory=dict)
    engine: str = ""
    stored: Threshold | None = None
    pause: Pause = field(default_factory=Pause)
    recorder: Recorder | None = None  # while the line runs
    loss: SourceLost | None = None
    _dropped_parts: int = 0
    back_off: BackOff = field(default_factory=BackOff)

    def __post_init__(self) -> None:
        self.name = self.name or self.source.name
        if self.source.live and self.alarm.damping is None:
            self.alarm.damping = Damping()

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before they were inspected."""
        return self.dropped_before + self.source.dropped

    @property
    def prefix(self) -> str:
        """The beginning of a message whose rest names the source: the camera's own name."""
        return "" if self.name == self.source.name else f"{self.name}: "

    def dropped_parts(self) -> Inspection | None:
        """Return the part for frames that were dropped since the last call, where each is one."""
        new, self._dropped_parts = self.dropped - self._dropped_parts, self.dropped
        if not self.own_trigger or new <= 0:
            return None
        reason = f"{new} parts came faster than they can be judged"
        return self.missed_part(Missed(reason, time.monotonic(), new))

    def missing(self, reason: str) -> BadFrame:
        """Return the frame that did not come."""
        index = self.tally.last.frame + 1 if self.tally.last else 0
        return BadFrame(reason, index, time.monotonic(), self.source.name)

    def missed_part(self, missed: Missed) -> Inspection:
        """Return the part that a missed trigger asked for."""
        frame = self.missing(f"missed_trigger: {missed.reason}")
        return replace(self.inspector(frame).inspection, missed_triggers=missed.count)
