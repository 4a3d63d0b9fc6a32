"""What frames are judged with: engines that cameras share, thresholds, geometry, bit depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_ad.engine import Batcher, Engine, EngineOptions
from edge_ad.engine.onnx_file import OnnxFileEngine
from edge_ad.errors import UsageError
from edge_ad.files import file_state
from edge_ad.geometry import Geometry
from edge_ad.images import BitDepth, agreed_depth
from edge_ad.line.alarm import PartRule
from edge_ad.line.config import ResolvedCamera
from edge_ad.line.drift import ExpectedImages
from edge_ad.line.inspector import Thresholds
from edge_ad.line.rate_check import RateCheck
from edge_ad.manifest import Sidecar, Threshold
from edge_ad.setting import Setting
from edge_ad.sidecar import check_geometry, load_sidecar
from edge_ad.triton import served_model

EngineKey = tuple[Path, EngineOptions]


@dataclass
class SharedEngine:
    """An open engine, the number of cameras that it serves, and its sidecars that were read.

    Links to one file may each have a sidecar beside them.
    """

    batcher: Batcher
    cameras: int
    sidecars: dict[Path, Sidecar | None] = field(default_factory=dict)

    def client(self) -> Engine:
        """Return the engine as one of its cameras calls it."""
        return self.batcher.engine if self.cameras == 1 else self.batcher.client()

    def sidecar(self, path: Path) -> Sidecar | None:
        """Return the sidecar of the engine file as a camera names it, read once.

        Raises what `load_sidecar` raises.
        """
        if path not in self.sidecars:
            engine = self.batcher.engine
            digest = engine.file_sha256 if isinstance(engine, OnnxFileEngine) else None
            self.sidecars[path] = load_sidecar(path, digest)
        return self.sidecars[path]


@dataclass(frozen=True)
class Judge:
    """What one camera's frames are judged with."""

    engine: SharedEngine
    thresholds: Thresholds
    geometry: Geometry
    depth: BitDepth | None
    sidecar: Sidecar | None = None

    @property
    def stored(self) -> Threshold | None:
        """The threshold beside the engine, if it was set for the geometry."""
        threshold = self.sidecar.threshold if self.sidecar else None
        if threshold is None or self.geometry.differences(threshold.geometry):
            return None
        return threshold

    @property
    def frame_wh(self) -> tuple[int, int] | None:
        """The only size of frames that the geometry fits, None where any does or it is unknown."""
        if self.geometry.frame_wh is not None or not self.geometry.counts_pixels:
            return self.geometry.frame_wh
        reference = self.stored.reference if self.stored else None
        return (reference.size_hw[1], reference.size_hw[0]) if reference else None

    @property
    def expects_colour(self) -> bool:
        """Whether a grey frame is a fault: every image of the threshold has colour."""
        reference = self.stored.reference if self.stored else None
        return reference is not None and reference.colour


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
    sidecar = engine.sidecar(camera.engine)
    thresholds = resolve_thresholds(
        camera.engine,
        sidecar,
        geometry,
        manifest.geometry,
        camera.threshold,
        camera.pixel_threshold,
    )
    return Judge(engine, thresholds, geometry, depth, sidecar)


def resolve_thresholds(
    engine: Path,
    sidecar: Sidecar | None,
    geometry: Geometry,
    trained: Geometry,
    image: float | None = None,
    pixel: float | None = None,
) -> Thresholds:
    """Return the given thresholds, completed with those of the engine's sidecar.

    An image threshold alone, with nothing stored, serves as pixel threshold too: both have the
    unit of the map. Raises UsageError when there is no threshold or it is not finite,
    IncompatibleError when the stored one was set under a geometry other than `geometry`.
    """
    if not all(math.isfinite(given) for given in (image, pixel) if given is not None):
        raise UsageError(f"a threshold is a finite number; got {image} and {pixel} for pixels.")
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


def expected_images(camera: ResolvedCamera, judge: Judge) -> ExpectedImages:
    """Return what the images of the stored threshold are like, if it was set for the geometry."""
    sidecar, stored = judge.sidecar, judge.stored
    if sidecar is None or stored is None:
        return ExpectedImages(str(camera.engine.resolve()))
    key = f"{sidecar.engine_sha256[:16]} {stored.data_sha256[:16]} {stored.image:g}"
    return ExpectedImages(key, stored.reference)


def configured(camera: ResolvedCamera, judge: Judge) -> dict[Setting, Any]:
    """Return what is configured about a camera's threshold, with all that it depends on.

    A threshold set by a person is for this engine under this geometry, and instead of this one.
    """
    if judge.sidecar is not None:
        engine = judge.sidecar.engine_sha256
    else:
        engine = str(served_model(camera.engine) or file_state(camera.engine))
    return {
        Setting.THRESHOLD: {
            "threshold": judge.thresholds.image,
            "engine": engine,
            "geometry": " ".join(judge.geometry.flags(Geometry())),
        }
    }


def rate_check(camera: ResolvedCamera, judge: Judge) -> RateCheck | None:
    """Return the check of the rate that the stored threshold guarantees, None for a given one."""
    stored = judge.sidecar.threshold if judge.sidecar else None
    if camera.threshold is not None or stored is None:
        return None
    frames = camera.frames_per_part or stored.frames_per_part or 1
    if camera.part is PartRule.FRAME:
        frames = 1
    return RateCheck(
        stored.false_alarm_rate,
        frames,
        threshold=stored.image,
        expected_anomalous=camera.expected_anomalous,
    )
