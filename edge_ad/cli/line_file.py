"""A line file: the options of `run` as keys, and a list of cameras with their own settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edge_ad.cli.config_file import CameraEntry
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.settings import CAMERAS, key_of
from edge_ad.engine import EngineOptions
from edge_ad.errors import InvalidConfig, UsageError

if TYPE_CHECKING:
    from edge_ad.line.alarm import AlarmRule, PartRule
    from edge_ad.line.config import CameraConfig, LineConfig

# options of `run` that a camera of the list may have, besides those of engines
_OPTIONS = (
    *("engine", "roi", "ignore", "tiles", "overlap", "bit_depth", "threshold", "pixel_threshold"),
    *("expected_anomalous", "frames_per_part", "alarm_k", "alarm_n", "hysteresis", "timeout_s"),
    *("part", "verdict_within_s", "trigger", "trigger_delay_ms", "trigger_within_ms", "outlet"),
    "isolate",
)
_OF_ENGINES = tuple(field.name for field in fields(EngineOptions))
_WITH_ENGINE = ("threshold", "pixel_threshold", "roi", "ignore", "tiles", "overlap")
_GEOMETRY = {"roi": "roi_xywh", "ignore": "ignore", "tiles": "tiles", "overlap": "overlap"}
_RULE = {"alarm_k": "k", "alarm_n": "n", "hysteresis": "hysteresis"}
_PLAIN = (
    *("engine", "bit_depth", "threshold", "pixel_threshold", "expected_anomalous"),
    *("frames_per_part", "timeout_s", "verdict_within_s", "isolate"),
)
_OF_CAMERAS = (
    click.Option(["--name"], help="Name in records, messages and evidence images."),
    click.Option(["--source"], help="Camera number, file, folder or URI, as for --camera."),
)


class LineCommand(GroupedCommand):
    """The verb `run`, whose configuration file may list cameras."""

    @property
    def camera_keys(self) -> dict[str, click.Parameter]:
        """The options that a camera of the list may set, by key."""
        options = {key_of(param): param for param in self.params}
        return {key_of(param): param for param in _OF_CAMERAS} | {
            key: options[key] for key in (*_OPTIONS, *_OF_ENGINES)
        }


def line_config(ctx: click.Context, options: Mapping[str, Any]) -> LineConfig:
    """Return the line that the options of `run` and its file describe.

    Raises UsageError for options that are missing, ambiguous or without effect.
    """
    from edge_ad.line.config import LineConfig

    cameras = cameras_of(ctx, options)
    return LineConfig(
        cameras=cameras,
        engine=options["engine"],
        geometry=options["geometry"],
        threshold=options["threshold"],
        pixel_threshold=options["pixel_threshold"],
        expected_anomalous=options["expected_anomalous"],
        frames_per_part=options["frames_per_part"],
        part=_part_rule(ctx, options, cameras),
        verdict_within_s=options["verdict_within_s"] or math.inf,
        trigger=options["trigger"],
        trigger_delay_s=options["trigger_delay_ms"] / 1e3,
        trigger_within_s=options["trigger_within_ms"] / 1e3,
        rule=_alarm_rule(options),
        outlets=options["outlets"],
        frames=options["frames"],
        bit_depth=options["bit_depth"],
        timeout_s=options["timeout_s"],
        isolate=options["isolate"],
        reopen_for_s=math.inf if options["reopen_for_s"] is None else options["reopen_for_s"],
        require_cameras=options["require_cameras"],
        engine_options=options["engine_options"],
    )


def _part_rule(
    ctx: click.Context, options: Mapping[str, Any], cameras: Sequence[str | CameraConfig]
) -> PartRule:
    """Return what one part of the line is. Raises UsageError for options without effect then."""
    from edge_ad.line.alarm import PartRule
    from edge_ad.line.config import CameraConfig
    from edge_ad.line.trigger_input import FREE

    part = PartRule(options["part"])
    if options["trigger"] != FREE:
        part = PartRule.FRAME
    elif not any(isinstance(camera, CameraConfig) and camera.trigger for camera in cameras):
        _refuse_given(ctx, "--trigger free", "trigger_delay_ms", "trigger_within_ms")
    if part is PartRule.FRAME:
        _refuse_given(ctx, "--part frame", "alarm_k", "hysteresis", "frames_per_part")
    return part


def _alarm_rule(options: Mapping[str, Any]) -> AlarmRule:
    from edge_ad.line.alarm import AlarmRule

    return AlarmRule(options["alarm_k"], options["alarm_n"], options["hysteresis"])


def _refuse_given(ctx: click.Context, because: str, *names: str) -> None:
    """Raise UsageError for an option on the command line that has no effect."""
    for name in names:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} has no effect with {because}. Leave one out.")


def listed_cameras(ctx: click.Context) -> list[CameraEntry] | None:
    """Return the cameras that the line file lists, None when it does not.

    Raises InvalidConfig when an option of the command line or the environment would mean the
    default only, while cameras have their own value.
    """
    entries = usable_cameras(ctx)
    if entries is not None and (problems := [*_ambiguities(ctx, entries)]):
        raise InvalidConfig(problems)
    return entries


def _ambiguities(ctx: click.Context, entries: Sequence[CameraEntry]) -> Iterator[str]:
    assert isinstance(ctx.command, LineCommand)
    for key, param in ctx.command.camera_keys.items():
        given = _origin(ctx, param)
        if not given or key == "outlet":  # outlets of the line and of a camera add up
            continue
        for own_key in (key, "engine") if key in _WITH_ENGINE else (key,):
            if own := [entry for entry in entries if own_key in entry.values]:
                yield _ambiguous(given, own_key, own)
                break
    cameras = next(param for param in ctx.command.params if param.name == "cameras")
    if given := _origin(ctx, cameras):
        yield f"{given}: the line file lists its cameras. Edit it, or omit the option."


def usable_cameras(ctx: click.Context) -> list[CameraEntry] | None:
    """Return the cameras that the line file lists and that have a source, None without a list."""
    entries: list[CameraEntry] | None = ctx.meta.get(CAMERAS)
    return None if entries is None else [entry for entry in entries if "source" in entry.values]


def cameras_of(ctx: click.Context, options: Mapping[str, Any]) -> tuple[str | CameraConfig, ...]:
    """Return the cameras of the line file, or those of the options.

    Raises UsageError when neither names a camera, and what `listed_cameras` raises.
    """
    listed = listed_cameras(ctx)
    if listed is not None:
        return tuple(_camera_config(entry.values, options) for entry in listed)
    if not options["cameras"]:
        raise UsageError(
            "Missing option '--camera'. Give a camera, or a file that lists them: -c line.yaml"
        )
    if options["engine"] is None:
        raise UsageError("Missing option '--engine'. Give the engine file.")
    return tuple(options["cameras"])


def _camera_config(values: Mapping[str, Any], options: Mapping[str, Any]) -> CameraConfig:
    from edge_ad.line.alarm import PartRule
    from edge_ad.line.config import CameraConfig

    own_rule = {_RULE[key]: values[key] for key in _RULE if key in values}
    own_engine = {key: values[key] for key in _OF_ENGINES if key in values}
    return CameraConfig(
        source=values["source"],
        name=values.get("name", ""),
        geometry={_GEOMETRY[key]: values[key] for key in _GEOMETRY if key in values},
        trigger=values.get("trigger"),
        trigger_delay_s=_seconds(values.get("trigger_delay_ms")),
        trigger_within_s=_seconds(values.get("trigger_within_ms")),
        part=PartRule(values["part"]) if "part" in values else None,
        rule=replace(_alarm_rule(options), **own_rule) if own_rule else None,
        engine_options=replace(options["engine_options"], **own_engine) if own_engine else None,
        outlets=tuple(values.get("outlet", ())),
        **{key: values[key] for key in _PLAIN if key in values},
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _origin(ctx: click.Context, param: click.Parameter) -> str:
    """Return what set an option apart from the file: its flag or variable; empty when nothing."""
    from edge_ad.cli.settings import ORIGINS, variable_prefix

    if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
        return max(param.opts, key=len)
    if ctx.meta.get(ORIGINS, {}).get(param.name) == "environment":
        return variable_prefix(ctx) + key_of(param).upper()
    return ""


def _ambiguous(given: str, key: str, own: Sequence[CameraEntry]) -> str:
    names = ", ".join(
        f"{entry.values.get('name', 'one')} ({entry.places[key].rstrip(': ')})" for entry in own
    )
    return (
        f"{given} is ambiguous: it would change the default only, but cameras set {key} for "
        f"themselves: {names}. Edit the file, or omit the option."
    )
