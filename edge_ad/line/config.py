"""The settings of one inspection line and of its cameras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge_ad.engine import Engine, EngineOptions, open_engine
from edge_ad.errors import UsageError
from edge_ad.line.alarm import AlarmRule, PartRule
from edge_ad.line.trigger_input import FREE
from edge_ad.source.named import NamedSource, name_sources, split_name
from edge_ad.source.open import is_triggered


@dataclass(frozen=True)
class CameraConfig:
    """One camera of a line. What is None or empty is as `LineConfig` has it.

    `source` is a URI without a name. A camera with another `engine` than the line's takes
    threshold, pixel threshold and geometry from that engine and its sidecar, unless it has them
    here; those of the line are for the line's engine. `geometry` replaces parts of the geometry.
    `outlets` receive this camera's records only; those of the line receive all.
    """

    source: str
    name: str = ""
    engine: Path | str | None = None
    engine_options: EngineOptions | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    pixel_threshold: float | None = None
    expected_anomalous: float | None = None
    frames_per_part: int | None = None
    rule: AlarmRule | None = None
    part: PartRule | None = None
    verdict_within_s: float | None = None
    trigger: str | None = None
    trigger_delay_s: float | None = None
    trigger_within_s: float | None = None
    outlets: tuple[str, ...] = ()
    bit_depth: int | None = None
    timeout_s: float | None = None
    isolate: bool | None = None


@dataclass(frozen=True)
class ResolvedCamera:
    """One camera with everything that applies to it; the fields are those of `CameraConfig`.

    With a trigger, each frame that is judged is a part.
    """

    name: str
    uri: str
    engine: Path
    engine_options: EngineOptions
    geometry: Mapping[str, Any]
    threshold: float | None
    pixel_threshold: float | None
    expected_anomalous: float
    frames_per_part: int | None
    rule: AlarmRule
    part: PartRule
    verdict_within_s: float
    trigger: str
    trigger_delay_s: float
    trigger_within_s: float
    outlets: tuple[str, ...]
    bit_depth: int | None
    timeout_s: float
    isolate: bool

    def open_engine(self) -> Engine:
        """Load and warm up the camera's engine."""
        return open_engine(self.engine, self.engine_options, for_line=True)


@dataclass(frozen=True)
class LineConfig:
    """Cameras, engine, thresholds, alarm rule and outlets of a line.

    `cameras` are URIs, each with a name if it has one (`top=rtsp://…`), or `CameraConfig` for
    cameras with their own settings; the other fields are the defaults of all cameras. `outlets`
    are URIs. A threshold of None is read from the engine's sidecar. `expected_anomalous` is the
    share of parts that are anomalous, for the check of the reject rate; `frames_per_part` is how
    many frames in a row show one part, by default as the threshold says. `part` says what one part
    is; with PartRule.FRAME `rule` only decides when a camera fault ends. A verdict later than
    `verdict_within_s` after a live frame's capture, or a file's turn, is INVALID. With a `trigger`
    other than "free", each part is the next frame captured `trigger_delay_s` after it; it is missed
    when that frame does not come within `trigger_within_s` more, or the verdict within
    `verdict_within_s` from the trigger. `geometry` replaces parts of the geometry that the engine
    was trained with: any of `roi_xywh`, `ignore`, `tiles` and `overlap`. `frames` limits each
    camera, 0 means no limit. `bit_depth` is that of 16-bit cameras and files, None for that of the
    training images. With `isolate`, each live camera is read in a separate process. With
    `require_cameras`, a camera that is absent at the start is an error; without, it is a camera
    fault.
    """

    cameras: tuple[str | CameraConfig, ...]
    engine: Path | str | None = None
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
    isolate: bool = False
    reopen_for_s: float = math.inf
    require_cameras: bool = False
    engine_options: EngineOptions = field(default_factory=EngineOptions)

    def open_engine(self) -> Engine:
        """Load and warm up the engine of all cameras. Raises UsageError when there is none."""
        if self.engine is None:
            raise UsageError("the line has no engine for all cameras.")
        return open_engine(self.engine, self.engine_options, for_line=True)

    def resolve(self) -> list[ResolvedCamera]:
        """Return every camera with everything that applies to it, in order.

        Raises UsageError like `name_cameras`, and for a camera without an engine.
        """
        return [
            self.resolve_camera(position, name) for position, name in enumerate(self.name_cameras())
        ]

    def name_cameras(self) -> list[NamedSource]:
        """Return the cameras' names and URIs.

        Raises UsageError for a line without cameras, and for a name that is invalid or not unique.
        """
        if isinstance(self.cameras, str):
            raise UsageError(f"cameras is a tuple of URIs, got a text: write ('{self.cameras}',).")
        if not self.cameras:
            raise UsageError("a line needs a camera.")
        return name_sources([_named(camera) for camera in self.cameras])

    def resolve_camera(self, position: int, source: NamedSource) -> ResolvedCamera:
        """Return a camera with everything that applies to it; `source` is as `name_cameras` says.

        Raises UsageError for a camera without an engine.
        """
        given = self.cameras[position]
        camera = given if isinstance(given, CameraConfig) else CameraConfig(source.uri)
        engine = camera.engine or self.engine
        if engine is None:
            raise UsageError(f"camera {source.name} has no engine, and the line has none for all.")
        engine, same = Path(engine), _same_file(engine, self.engine)
        trigger = _chosen(camera.trigger, self.trigger)
        triggered = trigger != FREE or is_triggered(source.uri)
        return ResolvedCamera(
            name=source.name,
            uri=source.uri,
            engine=engine,
            engine_options=camera.engine_options or self.engine_options,
            geometry={**(self.geometry if same else {}), **camera.geometry},
            threshold=_chosen(camera.threshold, self.threshold if same else None),
            pixel_threshold=_chosen(camera.pixel_threshold, self.pixel_threshold if same else None),
            expected_anomalous=_chosen(camera.expected_anomalous, self.expected_anomalous),
            frames_per_part=_chosen(camera.frames_per_part, self.frames_per_part),
            rule=camera.rule or self.rule,
            part=PartRule.FRAME if triggered else _part_rule(_chosen(camera.part, self.part)),
            verdict_within_s=_chosen(camera.verdict_within_s, self.verdict_within_s),
            trigger=trigger,
            trigger_delay_s=_chosen(camera.trigger_delay_s, self.trigger_delay_s),
            trigger_within_s=_chosen(camera.trigger_within_s, self.trigger_within_s),
            outlets=camera.outlets,
            bit_depth=_chosen(camera.bit_depth, self.bit_depth),
            timeout_s=_chosen(camera.timeout_s, self.timeout_s),
            isolate=_chosen(camera.isolate, self.isolate),
        )


_T = TypeVar("_T")


def _chosen(own: _T | None, default: _T) -> _T:
    return default if own is None else own


def _part_rule(text: str) -> PartRule:
    """Return a rule, also one given by its name. Raises UsageError for an invalid one."""
    try:
        return PartRule(text)
    except ValueError:
        names = " or ".join(rule.value for rule in PartRule)
        raise UsageError(f"a part is {names}, got '{text}'.") from None


def is_named(camera: str | CameraConfig) -> bool:
    """Return whether a camera is given with a name."""
    return bool(_named(camera).name)


def _named(camera: str | CameraConfig) -> NamedSource:
    if isinstance(camera, str):
        return split_name(camera)
    return NamedSource(camera.name, camera.source)


def _same_file(engine: Path | str, default: Path | str | None) -> bool:
    return default is not None and Path(engine).resolve() == Path(default).resolve()
