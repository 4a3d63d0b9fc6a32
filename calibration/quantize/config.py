"""What a calibration shall do, and what it tells while it does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from edge_ad.calibration.quantize.gate import GateLimits
from edge_ad.calibration.quantize.placement import PlacementOverrides, Target

OnProgress: TypeAlias = Callable[[str, int, int], None]  # what is being done, how much of how much


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig:
    """The wishes behind `edge-ad calibrate`.

    Ranges come from images (`images`), a table (`ranges`) or a TensorRT calibration cache
    (`read_cache`), joined by `merge`. The gate asks about `test`, a labelled folder, or else about
    good images with synthetic defects.
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
    samples: int = 512
    seed: int = 0
    synthetic: float = 0.2
    wanted: PlacementOverrides = field(default_factory=PlacementOverrides)
    limits: GateLimits = field(default_factory=GateLimits)
    gate: bool = True
    gate_images: int = 400
    fall_back: bool = True
    most_float: float = 0.5
    sensitivity_images: int = 16
    margin: float = 0.05
    false_alarm_rate: float = 0.01
    confidence: float = 0.95
    resume: bool = False
    threads: int = 0

    @property
    def table_path(self) -> Path:
        """`destseg.int8.onnx` -> `destseg.int8.ranges.yaml`."""
        return self.out.with_suffix(".ranges.yaml")

    @property
    def report_path(self) -> Path:
        """`destseg.int8.onnx` -> `destseg.int8.onnx.report.json`; the page ends in .html."""
        return self.out.with_name(self.out.name + ".report.json")

    @property
    def notes_path(self) -> Path:
        """Where a running search keeps what it measured."""
        return self.out.with_name(f".{self.out.stem}.unfinished.json")

    @property
    def pass_path(self) -> Path:
        """Where a running pass over the images keeps what it has seen."""
        return self.out.with_name(f".{self.out.stem}.unfinished.npz")
