"""Judge image files with the inspector of a line, in any process."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine import Engine, EngineOptions, open_engine
from edge_ad.errors import DataError, IncompatibleError, SourceLost
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.images import BitDepth, ImageReader
from edge_ad.line.inspector import InspectedFrame, Inspector, Thresholds
from edge_ad.rejudge.table import AGAINST, Row, as_region, finite, shown_path
from edge_ad.sidecar import engine_sha256
from edge_ad.triton import served_model

# of a disk or server that fails or is gone, which says nothing about an image
_STORAGE = frozenset(
    (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
     errno.ENODEV, errno.ENXIO, errno.ENOLINK, errno.EREMOTEIO)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JudgeEngine:
    """An engine with everything that its verdicts depend on, resolved."""

    engine: str
    sha256: str
    options: EngineOptions
    geometry: Geometry
    thresholds: Thresholds

    def describe(self) -> dict[str, Any]:
        """Return what the rows of a result depend on, as JSON."""
        return {
            "file": os.path.basename(self.engine),
            "sha256": self.sha256,
            "threshold": self.thresholds.image,
            "pixel_threshold": self.thresholds.pixel,
            "geometry": self.geometry.to_dict(),
        }

    def open(self) -> Engine:
        """Load the engine. Raises IncompatibleError for another file than was meant."""
        path = Path(self.engine)
        if (served_model(path) or path.is_file()) and (
            actual := engine_sha256(path)
        ) != self.sha256:
            raise IncompatibleError(
                f"{path} on {os.uname().nodename}: expected the engine with sha256 "
                f"{self.sha256[:12]}, got {actual[:12]}. Copy the same file to every machine."
            )
        return open_engine(path, self.options, for_line=True)


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """What images are judged with: an engine, with `against` a second one, and how to read them.

    `root` is the folder that all images are below: where it is gone, no verdict is given.
    """

    engine: JudgeEngine
    against: JudgeEngine | None
    depth: BitDepth
    root: str
    maps: bool = False


class ArchiveJudge(ClosedAtExit):
    """Open engines; `judge` reads an image once and returns its row."""

    def __init__(self, config: JudgeConfig) -> None:
        self._config, self._read = config, ImageReader(config.depth)
        self._stack = ExitStack()
        try:
            self._inspect = self._inspector(config.engine)
            self._against = self._inspector(config.against) if config.against else None
        except BaseException:
            self._stack.close()
            raise

    def judge(self, path: str) -> Row:
        """Return the row of an image; one that cannot be read is INVALID, with the reason.

        Raises SourceLost when not the image but its storage fails.
        """
        result, against = self.inspect(path)
        row = {"path": shown_path(path)} | _size(result) | _answer(result)
        if against is not None:
            row |= {AGAINST + name: value for name, value in _answer(against).items()}
        return row | (_map(result) if self._config.maps else {})

    def judge_all(self, paths: Sequence[str]) -> list[Row]:
        """Return the rows of some images."""
        return [self.judge(path) for path in paths]

    def inspect(self, path: str) -> tuple[InspectedFrame, InspectedFrame | None]:
        """Inspect an image with each engine; evidence is valid until the next one."""
        grab = self._grab(Path(path))
        return self._inspect(grab), self._against(grab) if self._against else None

    def close(self) -> None:
        """Release the engines; a second call does nothing."""
        self._stack.close()

    def _inspector(self, engine: JudgeEngine) -> Inspector:
        opened = self._stack.enter_context(engine.open())
        gate = FrameGate(live=False)
        return Inspector(opened, engine.thresholds, gate, geometry=engine.geometry)

    def _grab(self, path: Path) -> Grab:
        try:
            image = self._read(path)
        except DataError as error:
            self._check_storage(path, error)
            return BadFrame(str(error), 0, time.monotonic(), str(path), path.name)
        return Frame(image, 0, time.monotonic(), str(path), path.name)

    def _check_storage(self, path: Path, error: DataError) -> None:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            return
        if cause.errno in _STORAGE or (cause.errno == errno.ENOENT and _is_gone(self._config.root)):
            raise SourceLost(
                f"{path}: its storage fails ({cause.strerror}). What is judged is kept: mount it "
                "again, and give the same command."
            ) from error


def _is_gone(root: str) -> bool:
    """Return whether a folder is missing or empty, as where nothing is mounted any more."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def _size(result: InspectedFrame) -> Row:
    image = result.evidence.image
    height, width = (None, None) if image is None else image.shape[:2]
    return {"width": width, "height": height}


def _answer(result: InspectedFrame) -> Row:
    inspection = result.inspection
    return {
        "verdict": inspection.verdict.value,
        "score": finite(inspection.score),
        "threshold": inspection.threshold,
        "regions": [as_region(region) for region in inspection.regions],
        "reason": inspection.reason,
    }


def _map(result: InspectedFrame) -> dict[str, Any]:
    anomaly_map = result.evidence.anomaly_map
    if anomaly_map is None:
        return {}
    values = anomaly_map.values.astype("<f4")
    return {
        "map": values.tobytes(),
        "map_height": values.shape[0],
        "map_width": values.shape[1],
        "map_x": anomaly_map.origin_xy[0],
        "map_y": anomaly_map.origin_xy[1],
        "map_scale_x": anomaly_map.scale_xy[0],
        "map_scale_y": anomaly_map.scale_xy[1],
    }
