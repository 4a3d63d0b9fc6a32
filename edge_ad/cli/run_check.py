"""`edge-ad run --check`: what would run, or everything that keeps it from running."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.line_file import usable_cameras
from edge_ad.cli.options import emit
from edge_ad.cli.run_format import format_check
from edge_ad.cli.settings import PROBLEMS
from edge_ad.engine.options import DEFAULT_OPTIONS, EngineOptions
from edge_ad.errors import InvalidConfig
from edge_ad.triton import engine_text
from edge_ad.uri import without_credentials

if TYPE_CHECKING:
    from edge_ad.cli.config_file import CameraEntry, FileProblem
    from edge_ad.cli.run_outputs import Outputs
    from edge_ad.line.check import CheckedCamera, LineCheck, Problem
    from edge_ad.line.config import LineConfig


def check_run(
    ctx: click.Context, parts: Callable[[], tuple[LineConfig, Outputs]], *, as_json: bool
) -> None:
    """Check a run without starting it and print what would run.

    `parts` makes the run's parts from the options. Raises InvalidConfig with all problems.
    """
    made, check = _checked(ctx, parts)
    result = _result(check, made[1])
    emit(result) if as_json else click.echo(format_check(result))


def explain(ctx: click.Context, parts: Callable[[], tuple[LineConfig, Outputs]]) -> None:
    """Raise InvalidConfig with all that keeps a line file's cameras from running, and where."""
    if usable_cameras(ctx):
        _checked(ctx, parts)


def _checked(
    ctx: click.Context, parts: Callable[[], tuple[LineConfig, Outputs]]
) -> tuple[tuple[LineConfig, Outputs], LineCheck]:
    """Return the parts of a run and what a check found. Raises InvalidConfig with all problems."""
    from edge_ad.line.check import LineCheck, check_line

    of_file: list[FileProblem] = ctx.meta.get(PROBLEMS, [])
    check = LineCheck()
    made = check.attempt(parts)
    if made is not None:
        config, outputs = made
        check = check_line(config) if config.cameras else check
        if not _is_running(outputs):  # its own configuration may be checked before a restart
            check.attempt(outputs.check)
        if outputs.folder is None:
            for uri in check.outlets:
                check.attempt(partial(_check_durable, uri))
    _raise(of_file, check.problems, usable_cameras(ctx) or ())
    assert made is not None
    return made, check


def _is_running(outputs: Outputs) -> bool:
    """Return whether a line runs in the output folder."""
    from edge_ad.store.lock import is_locked

    return outputs.folder is not None and is_locked(outputs.folder)


def _check_durable(uri: str) -> None:
    """Raise UsageError for an outlet that needs an output folder."""
    from edge_ad.line.supervisor import needs_store
    from edge_ad.outlet.registry import is_durable

    if is_durable(uri):
        raise needs_store(without_credentials(uri))


def _raise(
    of_file: Sequence[FileProblem], found: Sequence[Problem], entries: Sequence[CameraEntry]
) -> None:
    """Raise InvalidConfig if there are problems; those of a file's cameras have their places."""
    facts = [problem.as_json() for problem in of_file]
    texts = [str(problem) for problem in of_file]
    for problem in found:
        if problem.camera is not None and entries:
            placed = entries[problem.camera].problem(problem.message)
            texts.append(str(placed))
            facts.append(placed.as_json() | {"exit": problem.exit_code})
        else:
            texts.append(problem.message)
            facts.append({"message": problem.message, "exit": problem.exit_code})
    if not texts:
        return
    codes = {problem.exit_code for problem in found} | {2 for _ in of_file}
    raise InvalidConfig(texts, facts, codes.pop() if len(codes) == 1 else InvalidConfig.exit_code)


def _result(check: LineCheck, outputs: Outputs) -> dict[str, Any]:
    names = [checked.camera.name for checked in check.cameras]
    engines: dict[tuple[str, EngineOptions], list[str]] = {}
    for checked in check.cameras:
        key = (engine_text(checked.camera.engine), checked.camera.engine_options)
        engines.setdefault(key, []).append(checked.camera.name)
    return {
        "type": "check",
        "cameras": [_camera(checked) for checked in check.cameras],
        "engines": [
            {"engine": name, "options": _changed(options), "cameras": users}
            for (name, options), users in engines.items()
        ],
        "outlets": [
            {
                "outlet": without_credentials(uri),
                "cameras": names if of is None else [name for name in names if name in of],
            }
            for uri, of in check.outlets.items()
        ],
        "output": None if outputs.folder is None else str(outputs.folder),
        "running": _is_running(outputs),
    }


def _camera(checked: CheckedCamera) -> dict[str, Any]:
    camera, judge = checked.camera, checked.judge
    return {
        "camera": camera.name,
        "source": without_credentials(camera.uri),
        "engine": engine_text(camera.engine),
        "threshold": judge.thresholds.image,
        "pixel_threshold": judge.thresholds.pixel,
        "threshold_from": "the sidecar" if camera.threshold is None else "the configuration",
        "geometry": judge.geometry.to_dict(),
        "part": camera.part.value,
        "rule": {"k": camera.rule.k, "n": camera.rule.n, "hysteresis": camera.rule.hysteresis},
    }


def _changed(options: EngineOptions) -> dict[str, Any]:
    """Return the options that differ from the defaults."""
    return {
        key: value
        for key, value in asdict(options).items()
        if value != getattr(DEFAULT_OPTIONS, key)
    }
