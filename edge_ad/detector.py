"""Inspect single images from Python."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine import EngineOptions, open_engine
from edge_ad.engine.options import DEFAULT_OPTIONS
from edge_ad.errors import DataError, UsageError
from edge_ad.frame import Frame, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.images import read_image
from edge_ad.inspection import Inspection
from edge_ad.line.inspector import InspectedFrame, Inspector
from edge_ad.line.judge import resolve_thresholds
from edge_ad.sidecar import load_sidecar


class Detector(ClosedAtExit):
    """An engine with its thresholds and geometry, for one image at a time.

        with Detector("destseg.onnx") as detector:
            inspection = detector(cv2.imread("part.png"))

    Thresholds and geometry are those stored with the engine unless given. A `threshold` alone
    outlines regions too. `geometry` replaces parts of the stored one: any of `roi_xywh`, `ignore`,
    `tiles` and `overlap`.

    Raises UsageError without a threshold, IncompatibleError for an engine that does not fit this
    machine or a stored threshold that does not fit the geometry.
    """

    def __init__(
        self,
        engine: Path | str,
        threshold: float | None = None,
        pixel_threshold: float | None = None,
        *,
        geometry: Mapping[str, Any] | None = None,
        options: EngineOptions = DEFAULT_OPTIONS,
    ) -> None:
        self._closed = False
        path = Path(engine)
        self._engine = open_engine(path, options)
        try:
            trained = self._engine.manifest.geometry
            used = trained.changed(geometry or {})
            self.thresholds = resolve_thresholds(
                path, load_sidecar(path), used, trained, threshold, pixel_threshold
            )
        except BaseException:
            self._engine.close()
            raise
        gate = FrameGate(live=False)
        self._inspector = Inspector(self._engine, self.thresholds, gate, geometry=used)
        self._count = 0

    def __call__(self, image: NDArray[Any] | Path | str) -> Inspection:
        """Inspect a uint8 (H, W, 3) BGR array, or the image file of a path.

        The inspection has the score and the verdict that `edge-ad run` gives for the image, and a
        `map`. An array is checked like a camera's frame, so one whose last rows hold a single grey
        is INVALID (torn); a file is not. Raises DataError for a file that cannot be read and for an
        array of another type, UsageError when the geometry does not fit the image, and after
        `close`.
        """
        if self._closed:
            raise UsageError(
                f"{self._engine.name}: this Detector is closed, as at the end of its with block. "
                "Make another."
            )
        if isinstance(image, Path | str):
            path = Path(image)
            return self._inspect(read_image(path, self._engine.manifest.bit_depth), path.name)
        return self._inspect(_checked(image), "")

    def close(self) -> None:
        """Release the engine; a second call does nothing."""
        self._closed = True
        self._engine.close()

    def _inspect(self, image: Image, file: str) -> Inspection:
        frame = Frame(image, self._count, time.monotonic(), file or "array", file)
        self._count += 1
        return _with_map(self._inspector(frame), image)


def _with_map(result: InspectedFrame, image: Image) -> Inspection:
    """Return the inspection with its map in frame coordinates, None for an INVALID image."""
    anomaly_map = result.evidence.anomaly_map
    if anomaly_map is None:
        return result.inspection
    return replace(result.inspection, map=anomaly_map.in_frame((image.shape[0], image.shape[1])))


def _checked(image: object) -> Image:
    if image is None:
        raise DataError("expected an image, got None: cv2.imread returns it for unreadable files.")
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"expected a file or a uint8 array, got {type(image).__name__}. A Pillow image becomes "
            "one with np.asarray(image.convert('RGB'))[..., ::-1]."
        )
    if not image.size:
        raise DataError(f"expected an image, got an array without pixels: {image.shape}.")
    return image
