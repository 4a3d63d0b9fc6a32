"""The options of every verb: `--json`, `-c/--config` and `--print-config`.

A configuration file holds a verb's options as YAML keys; see `edge_ad.cli.settings`.
`--print-config` prints the merged options as such a file, with the origin of each value.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from edge_ad.cli.config_file import raise_problems
from edge_ad.cli.requirements import require_packages
from edge_ad.cli.session import current_session
from edge_ad.cli.settings import (
    CAMERAS,
    ORIGINS,
    PROBLEMS,
    UNSETTABLE,
    config_variable,
    key_of,
    read_settings,
)
from edge_ad.machine.opencv import require_opencv
from edge_ad.uri import with_hidden_credentials

_F = TypeVar("_F", bound=Callable[..., Any])


def shared(function: _F) -> Callable[..., Any]:
    """Add `--json`, `-c/--config` and `--print-config`; the verb receives `as_json`."""

    @functools.wraps(function)
    def verb(*args: Any, print_config: bool, **options: Any) -> Any:
        ctx = click.get_current_context()
        if not options.get("check"):  # which lists them with those that it finds
            raise_problems(ctx.meta.get(PROBLEMS, ()))
        if print_config:
            return _print_config(ctx)
        current_session(ctx).as_json |= options["as_json"]
        if ctx.info_name != "doctor":
            require_opencv()
        require_packages(ctx.info_name or "")
        return function(*args, **options)

    for option in (_PRINT_CONFIG, _CONFIG, _JSON):
        verb = option(verb)
    return verb


def emit(result: dict[str, Any]) -> None:
    """Print one JSON object on one line of stdout, at once."""
    click.echo(json.dumps(result, allow_nan=False))


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if not ctx.resilient_parsing:
        read_settings(ctx, path or config_variable(ctx))
        current_session(ctx).as_json |= (ctx.default_map or {}).get("as_json") is True


def _print_config(ctx: click.Context) -> None:
    from edge_ad.strict_yaml import dump_yaml

    for param in ctx.command.params:
        if param.name is None or param.name in UNSETTABLE:
            continue
        value = dump_yaml(_plain(ctx.params.get(param.name)), flow=True, width=math.inf)
        text = value.removesuffix("...\n").rstrip()
        click.echo(f"{key_of(param)}: {text}  # {_origin(ctx, param.name)}")
    if cameras := ctx.meta.get(CAMERAS):
        listed = [_plain(dict(camera.values)) for camera in cameras]
        click.echo("cameras:  # file\n" + dump_yaml(listed, flow=None, width=math.inf), nl=False)


def _origin(ctx: click.Context, name: str) -> str:
    source = ctx.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return "flag"
    origins: dict[str, str] = ctx.meta.get(ORIGINS, {})
    return origins.get(name, "default")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return with_hidden_credentials(value)
    return value if isinstance(value, (bool, int, float, type(None))) else str(value)


_JSON = click.option("--json", "as_json", is_flag=True, help="Results as JSON on stdout.")
_CONFIG = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="YAML file with options of this command; the command line wins over it.",
)
_PRINT_CONFIG = click.option(
    "--print-config",
    is_flag=True,
    help="Print the merged configuration and the origin of each value, and exit.",
)
