"""The options of every verb: `--json`, `-c/--config` and `--print-config`.

A configuration file holds a verb's options as YAML keys. Options on the command line win over the
file, the file wins over defaults, and `--print-config` prints the result with the origin of values.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml
from click.core import ParameterSource

from edge_ad.cli.verbs import unknown
from edge_ad.errors import UsageError

_F = TypeVar("_F", bound=Callable[..., Any])
_OWN = frozenset({"config", "print_config", "help"})
_ORIGIN = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.DEFAULT_MAP: "file",
    ParameterSource.DEFAULT: "default",
}


def shared(function: _F) -> Callable[..., Any]:
    """Add `--json`, `-c/--config` and `--print-config`; the verb receives `as_json`."""

    @functools.wraps(function)
    def verb(*args: Any, print_config: bool, **options: Any) -> Any:
        if print_config:
            return _print_config(click.get_current_context())
        return function(*args, **options)

    for option in (_PRINT_CONFIG, _CONFIG, _JSON):
        verb = option(verb)
    return verb


def emit(result: dict[str, Any]) -> None:
    """Print one JSON object on one line of stdout, at once."""
    click.echo(json.dumps(result, allow_nan=False))


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Set the file's values as click's defaults, after checking every key."""
    if path is None:
        return
    known = {_key(option): option for option in ctx.command.params if option.name not in _OWN}
    values = _load(path)
    for key in values:
        if key not in known:
            raise UsageError(f"{path}: {unknown('key', key, known)}")
        if isinstance(values[key], list | dict) and _takes_one_value(known[key]):
            kind = type(values[key]).__name__
            raise UsageError(f"{path}: {key} expects one value, got a {kind}: {values[key]}.")
    named = {known[key].name: _to_click(known[key], value) for key, value in values.items()}
    ctx.default_map = {**(ctx.default_map or {}), **named}


def _load(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected 'key: value' lines, got a {type(values).__name__}.")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def _takes_one_value(option: click.Parameter) -> bool:
    """Return whether an option is a single path or text; click checks all other types."""
    once = not getattr(option, "multiple", False)
    return once and isinstance(option.type, click.Path | click.types.StringParamType)


def _to_click(option: click.Parameter, value: Any) -> Any:
    """Return a value as click expects it; an option that repeats may be given without a list."""
    text = _to_text(value)
    once = getattr(option, "multiple", False) and value is not None and not isinstance(value, list)
    return [text] if once else text


def _to_text(value: Any) -> Any:
    """Return numbers as text, so that values of file and command line are parsed alike."""
    if isinstance(value, list):
        return [_to_text(item) for item in value]
    return value if isinstance(value, bool) or value is None else str(value)


def _key(option: click.Parameter) -> str:
    """Return the YAML key of an option: its longest flag, with underscores."""
    longest = max(option.opts, key=len)
    return longest.lstrip("-").replace("-", "_")


def _print_config(ctx: click.Context) -> None:
    for option in ctx.command.params:
        if option.name is None or option.name in _OWN:
            continue
        source = ctx.get_parameter_source(option.name)
        value = yaml.safe_dump({_key(option): _plain(ctx.params.get(option.name))})
        click.echo(f"{value.rstrip()}  # {_ORIGIN.get(source, 'default') if source else 'default'}")


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


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
