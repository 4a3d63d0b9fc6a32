"""What frames are judged with: engines that cameras share, thresholds, geometry, bit depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.engine import Batcher, Engine, EngineOptions
from edge_ad.errors import UsageError
from edge_ad.geometry import Geometry
from edge_ad.images import BitDepth, agreed_depth
from edge_ad.line.alarm import PartRule
from edge_ad.line.config import ResolvedCamera
from edge_ad.line.drift import ExpectedImages
from edge_ad.line.inspector import Thresholds
from edge_ad.line.rate_check import RateCheck
from edge_ad.manifest import Threshold, check_geometry, load_sidecar
from edge_ad.setting import Setting
from edge_ad.triton import served_model

EngineKey = tuple[Path, EngineOptions]


@dataclass
class SharedEngine:
    """An open engine and the number of cameras that it serves."""

    batcher: Batcher
    cameras: int

    def client(self) -> Engine:
        """Return the engine as one of its cameras calls it."""
        return self.batcher.engine if self.cameras == 1 else self.batcher.client()


@dataclass(frozen=True)
class Judge:
    """What one camera's frames are judged with."""

    engine: SharedEngine
    thresholds: Thresholds
    geometry: Geometry
    depth: BitDepth | None


def engine_key(camera: ResolvedCamera) -> EngineKey:
    """Return what cameras that share an engine have in common: the file and its options."""
    return camera.engine.resolve(), camera.engine_options


def open_engines(
    cameras: Sequence[ResolvedCamera], stack: ExitStack
) -> dict[EngineKey, SharedEngine]:
    """Open every engine once; `stack` closes them. Raises what `open_engine` raises."""
    engines: dict[EngineKey, SharedEngine] = {}
    for camera in cameras:
        key = engine_key(camera)
        if key in engines:
            engines[key].cameras += 1
        else:
            engines[key] = SharedEngine(Batcher(stack.enter_context(camera.open_engine())), 1)
    return engines


def prepare(camera: ResolvedCamera, engine: SharedEngine) -> Judge:
    """Return what the camera's frames are judged with.

    Raises IncompatibleError when bit depth, geometry or threshold do not fit the engine, UsageError
    for an engine without a threshold.
    """
    manifest = engine.batcher.engine.manifest
    depth = agreed_depth(str(camera.engine), manifest.bit_depth, camera.bit_depth)
    geometry = manifest.geometry.changed(camera.geometry)
    thresholds = resolve_thresholds(
        camera.engine, geometry, manifest.geometry, camera.threshold, camera.pixel_threshold
    )
    return Judge(engine, thresholds, geometry, depth)


def resolve_thresholds(
    engine: Path,
    geometry: Geometry,
    trained: Geometry,
    image: float | None = None,
    pixel: float | None = None,
) -> Thresholds:
    """Return the given thresholds, completed with those stored beside the engine.

    An image threshold alone, with nothing stored, serves as pixel threshold too: both have the
    unit of the map. Raises UsageError when there is no threshold or it is not finite,
    IncompatibleError when the stored one was set under a geometry other than `geometry`.
    """
    if not all(math.isfinite(given) for given in (image, pixel) if given is not None):
        raise UsageError(f"a threshold is a finite number; got {image} and {pixel} for pixels.")
    sidecar = load_sidecar(engine)
    stored = sidecar.threshold if sidecar else None
    if image is None:
        if stored is None and served_model(engine) is not None:
            raise UsageError(
                f"{served_model(engine)} has no threshold. Set one on the engine file with edge-ad "
                "threshold and export it again with edge-ad export-triton (or give --threshold)."
            )
        if stored is None:
            raise UsageError(
                f"{engine} has no threshold yet. Set one from images of good parts with: "
                f"edge-ad threshold {engine} --images GOOD_DIR  (or give --threshold)"
            )
        check_geometry(engine, stored, geometry, trained)
        image = stored.image
    if pixel is None:
        pixel = stored.pixel if stored else image
    return Thresholds(image, pixel)


def expected_images(camera: ResolvedCamera, geometry: Geometry) -> ExpectedImages:
    """Return what the images of the stored threshold are like, if it was set for the geometry."""
    sidecar, stored = load_sidecar(camera.engine), stored_threshold(camera, geometry)
    if sidecar is None or stored is None:
        return ExpectedImages(str(camera.engine.resolve()))
    key = f"{sidecar.engine_sha256[:16]} {stored.data_sha256[:16]} {stored.image:g}"
    return ExpectedImages(key, stored.reference)


def stored_threshold(camera: ResolvedCamera, geometry: Geometry) -> Threshold | None:
    """Return the threshold beside the camera's engine, if it was set for the geometry."""
    sidecar = load_sidecar(camera.engine)
    stored = sidecar.threshold if sidecar else None
    return None if stored is None or geometry.differences(stored.geometry) else stored


def configured(camera: ResolvedCamera, judge: Judge) -> dict[Setting, Any]:
    """Return what is configured about a camera's threshold, with all that it depends on.

    A threshold set by a person is for this engine under this geometry, and instead of this one.
    """
    sidecar = load_sidecar(camera.engine)
    file = sidecar.engine_sha256 if sidecar else _file_state(camera.engine)
    return {
        Setting.THRESHOLD: {
            "threshold": judge.thresholds.image,
            "engine": file,
            "geometry": " ".join(judge.geometry.flags(Geometry())),
        }
    }


def _file_state(engine: Path) -> str:
    """Return what changes when a file is replaced; the address of a served model."""
    if served_model(engine) is not None:
        return str(served_model(engine))
    state = engine.stat()
    return f"{state.st_size} bytes at {state.st_mtime_ns}"


def rate_check(camera: ResolvedCamera) -> RateCheck | None:
    """Return the check of the rate that the stored threshold guarantees, None for a given one.

    Anomalous parts are rejected too: with a share a of them, at most p + a (1 - p) of all parts.
    """
    sidecar = load_sidecar(camera.engine)
    if camera.threshold is not None or sidecar is None or sidecar.threshold is None:
        return None
    stored, share = sidecar.threshold, camera.expected_anomalous
    rate = stored.false_alarm_rate
    frames = camera.frames_per_part or stored.frames_per_part or 1
    if camera.part is PartRule.FRAME:
        frames = 1
    return RateCheck(rate + share * (1 - rate), frames, threshold=stored.image)
