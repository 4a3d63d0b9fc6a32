"""Check a line without starting it, and list everything that is wrong at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from edge_ad.engine import Batcher
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.frame import Frame
from edge_ad.line.alarm import check_rule
from edge_ad.line.config import LineConfig, ResolvedCamera
from edge_ad.line.judge import EngineKey, Judge, SharedEngine, engine_key, prepare
from edge_ad.line.open import check_camera_trigger, outlet_cameras
from edge_ad.outlet.registry import check_outlet
from edge_ad.preprocess import Preprocess
from edge_ad.source.open import check_source, is_live, open_source, waits
from edge_ad.stored import StoredError

_T = TypeVar("_T")
_FRAMES_TRIED = 5  # the first frames of a video may not decode


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a line from starting; `camera` is its position, None for the line."""

    camera: int | None
    message: str
    exit_code: int


@dataclass(frozen=True)
class CheckedCamera:
    """A camera that can start, with what its frames would be judged with."""

    camera: ResolvedCamera
    judge: Judge


@dataclass
class LineCheck:
    """The cameras that can start, the outlets with their cameras, and all problems."""

    cameras: list[CheckedCamera] = field(default_factory=list)
    outlets: dict[str, frozenset[str] | None] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def attempt(self, call: Callable[[], _T], camera: int | None = None) -> _T | None:
        """Return what a call returns, or None after noting its error."""
        try:
            return call()
        except EdgeAdError as error:
            self._note(Problem(camera, str(error), error.exit_code))
        except StoredError as error:  # a geometry from Python
            self._note(Problem(camera, f"geometry: {error}", UsageError.exit_code))
        return None

    def _note(self, problem: Problem) -> None:
        if problem not in self.problems:  # several steps meet the same
            self.problems.append(problem)


def check_line(config: LineConfig) -> LineCheck:
    """Check names, sources, engines, thresholds, geometries, rules and outlets.

    Engines are opened and closed again; of sources that are files, the first frame is read. Cameras
    and outlets are not opened: whether they are there shows when the line runs.
    """
    check = LineCheck()
    check.attempt(lambda: check_rule(config.rule))
    names = check.attempt(config.name_cameras) or []
    sound = [_is_sound(check, position, name.uri) for position, name in enumerate(names)]
    resolved = [
        (position, camera)
        for position, name in enumerate(names)
        if (camera := check.attempt(partial(config.resolve_camera, position, name), position))
    ]
    with ExitStack() as stack:
        engines = _open_engines(check, resolved, stack)
        for position, camera in resolved:
            engine = engines.get(engine_key(camera))
            _check_camera(check, config, position, camera, engine, sound[position])
    check.outlets = outlet_cameras(config.outlets, [camera for _, camera in resolved])
    for uri in check.outlets:
        check.attempt(partial(check_outlet, uri))
    return check


def _open_engines(
    check: LineCheck, resolved: list[tuple[int, ResolvedCamera]], stack: ExitStack
) -> dict[EngineKey, SharedEngine]:
    """Open every engine once; a problem of an engine is noted at its first camera."""
    engines: dict[EngineKey, SharedEngine] = {}
    tried: set[EngineKey] = set()
    for position, camera in resolved:
        key = engine_key(camera)
        if key not in tried:
            tried.add(key)
            engine = check.attempt(camera.open_engine, position)
            if engine is not None:
                engines[key] = SharedEngine(Batcher(stack.enter_context(engine)), 0)
        if key in engines:
            engines[key].cameras += 1
    return engines


def _is_sound(check: LineCheck, position: int, uri: str) -> bool:
    before = len(check.problems)
    check.attempt(partial(check_source, uri), position)
    return len(check.problems) == before


def _check_camera(
    check: LineCheck,
    config: LineConfig,
    position: int,
    camera: ResolvedCamera,
    engine: SharedEngine | None,
    sound_source: bool,  # noqa: FBT001
) -> None:
    if camera.rule != config.rule:
        check.attempt(lambda: check_rule(camera.rule), position)
    check.attempt(lambda: check_camera_trigger(camera), position)
    if engine is None:
        return
    judge = check.attempt(lambda: prepare(camera, engine), position)
    if judge is None:
        return
    if sound_source:
        check.attempt(lambda: _check_first_frame(camera, judge), position)
    check.cameras.append(CheckedCamera(camera, judge))


def _check_first_frame(camera: ResolvedCamera, judge: Judge) -> None:
    """Preprocess the first frame of a file. Raises UsageError when the geometry does not fit it."""
    if is_live(camera.uri) or waits(camera.uri):
        return
    preprocess = Preprocess(judge.engine.batcher.engine.manifest.size_hw, judge.geometry)
    with open_source(camera.uri, bit_depth=judge.depth) as source:
        for grab in itertools.islice(source, _FRAMES_TRIED):
            if isinstance(grab, Frame):
                preprocess(grab.image)
                return
