"""Configuration of a calibration, and the callback that reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from edge_ad.calibration.quantize.gate import GateLimits
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.ranges.target import Target
from edge_ad.parts import How

OnProgress: TypeAlias = Callable[[str, int, int], None]  # step, items done, items in total


def no_progress(step: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig:
    """The options of `edge-ad calibrate`.

    Ranges come from images (`images`), a table (`ranges`) or a TensorRT calibration cache
    (`read_cache`), merged with the tables in `merge`. The gate evaluates on `test`, a labelled
    folder, or else on normal images with synthetic anomalies. `part_id` and `parts_from` tell which
    of `images` show one part, for the threshold.
    """

    engine: Path
    out: Path
    target: Target
    method: str = "all"
    images: Path | None = None
    ranges: Path | None = None
    read_cache: Path | None = None
    write_cache: Path | None = None
    cache_version: str = "10.3.0"
    merge: tuple[Path, ...] = ()
    test: Path | None = None
    layout: str | None = None
    leave_out_bad_masks: bool = False
    samples: int = 512
    seed: int = 0
    synthetic_anomalies: float = 0.2
    overrides: PlacementOverrides = field(default_factory=PlacementOverrides)
    limits: GateLimits = field(default_factory=GateLimits)
    gate: bool = True
    gate_images: int = 400
    fall_back: bool = True
    max_float: float = 0.5
    sensitivity_images: int = 16
    margin: float = 0.05
    false_alarm_rate: float = 0.01
    confidence: float = 0.95
    part_id: str | None = None
    parts_from: How | None = None
    resume: bool = False
    threads: int = 0

    @property
    def table_path(self) -> Path:
        """Return the range table's path: `destseg.int8.onnx` -> `destseg.int8.ranges.yaml`."""
        return self.out.with_suffix(".ranges.yaml")

    @property
    def report_path(self) -> Path:
        """Return the report's path: `destseg.int8.onnx.report.json`; the page ends in .html."""
        return self.out.with_name(self.out.name + ".report.json")

    @property
    def rejected(self) -> CalibrationConfig:
        """Return the same with other names of files, for a result that replaces no engine."""
        return replace(self, out=self.out.with_suffix(".rejected.onnx"))

    @property
    def unfinished_table_path(self) -> Path:
        """Return the path where an unfinished search keeps its range table."""
        return self.out.with_name(f".{self.out.stem}.unfinished.ranges.yaml")

    @property
    def cache_path(self) -> Path:
        """Return the path where an unfinished search keeps its results."""
        return self.out.with_name(f".{self.out.stem}.unfinished.json")

    @property
    def checkpoint_path(self) -> Path:
        """Return the path where an unfinished pass over the images keeps its state."""
        return self.out.with_name(f".{self.out.stem}.unfinished.npz")
