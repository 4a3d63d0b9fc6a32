"""Options from a configuration file and from the environment, as defaults of the command line.

The command line wins over the environment, the environment over the file, the file over defaults.
A value is read as if it were typed after its option: nothing becomes a boolean or an octal number
on the way. Keys that no option has are refused, in both places.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.types import BoolParamType, FloatParamType, IntParamType, StringParamType

from edge_ad.cli.verbs import unknown
from edge_ad.errors import UsageError
from edge_ad.strict_yaml import YamlProblem, decode, parse_yaml

PREFIX = "EDGE_AD_"
ORIGINS = "edge_ad.origins"  # in the meta of a context: parameter name -> origin
UNSETTABLE = frozenset({"config", "print_config", "help"})

_WHOLE = re.compile(r"[-+]?(0|[1-9]\d*)")
_NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\.?(inf|nan)")
_LEADING_ZERO = re.compile(r"[-+]?0[\d_]+")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def read_settings(ctx: click.Context, path: Path | None) -> None:
    """Set the values of file and environment as click's defaults, after checking every key.

    Raises UsageError, which names the file or the variable.
    """
    known = settable(ctx.command)
    values: dict[str, Any] = {}
    origins: dict[str, str] = ctx.meta.setdefault(ORIGINS, {})
    sources = [("file", _from_file(path, known))] if path is not None else []
    for origin, settings in [*sources, ("environment", _from_environment(ctx, known))]:
        for key, value in settings:
            name = known[key].name
            if name is not None and value is not None:
                values[name], origins[name] = value, origin
    ctx.default_map = {**(ctx.default_map or {}), **values}


def settable(command: click.Command) -> dict[str, click.Parameter]:
    """Return the parameters that a file and the environment may set, by key."""
    return {key_of(param): param for param in command.params if param.name not in UNSETTABLE}


def key_of(param: click.Parameter) -> str:
    """Return the YAML key of an option: its longest flag, with underscores."""
    return max(param.opts, key=len).lstrip("-").replace("-", "_").lower()


def variable_prefix(ctx: click.Context) -> str:
    """Return the beginning of a verb's variables: `EDGE_AD_RUN_`."""
    return f"{PREFIX}{ctx.info_name or ctx.command.name}_".upper()


def config_variable(ctx: click.Context) -> Path | None:
    """Return the configuration file that the environment names."""
    text = os.environ.get(variable_prefix(ctx) + "CONFIG")
    return Path(text) if text else None


def _from_file(
    path: Path, known: Mapping[str, click.Parameter]
) -> Iterator[tuple[str, str | bool | list[Any] | None]]:
    keys: dict[str, str] = {}
    for written, value in _load(path).items():
        key = str(written).replace("-", "_")
        if key not in known:
            raise UsageError(f"{path}: {unknown('key', key, known)}")
        if key in keys:
            raise UsageError(f"{path}: '{keys[key]}' and '{written}' are the same key. Keep one.")
        keys[key] = str(written)
        yield key, _to_click(known[key], value, f"{path}: {key}")


def _load(path: Path) -> dict[Any, Any]:
    try:
        values = parse_yaml(decode(path.read_bytes()), as_written=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except YamlProblem as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        kind = "list" if isinstance(values, list) else "single value"
        raise UsageError(f"{path}: expected 'key: value' lines, got a {kind}.")
    return values


def _from_environment(
    ctx: click.Context, known: Mapping[str, click.Parameter]
) -> Iterator[tuple[str, str | bool | list[Any] | None]]:
    prefix = variable_prefix(ctx)
    for name in sorted(os.environ):
        text = os.environ[name]
        if name.startswith(prefix) and name != prefix + "CONFIG" and text:
            key = name.removeprefix(prefix).lower()
            if key not in known:
                names = [prefix + key.upper() for key in known]
                raise UsageError(unknown("variable", name, names))
            yield key, _to_click(known[key], _list_or_text(name, text), name)
        elif name.removeprefix(PREFIX).lower() in known and name.startswith(PREFIX):
            right = prefix + name.removeprefix(PREFIX)
            raise UsageError(f"the variable {name} has no verb. Write {right}, or unset {name}.")


def _list_or_text(name: str, text: str) -> Any:
    """Return a value like `[0, 1]` as a list."""
    if not text.lstrip().startswith("["):
        return text
    try:
        return parse_yaml(text, as_written=True)
    except YamlProblem as error:
        raise UsageError(f"{name}: not a valid list: {error}") from error


def _to_click(param: click.Parameter, value: Any, where: str) -> str | bool | list[Any] | None:
    """Return a value as click expects it; an option that repeats may be given without a list.

    `where` is the file and key, or the variable, for messages.
    """
    if value is None:
        return None
    if getattr(param, "multiple", False) or param.nargs != 1:
        items = value if isinstance(value, list) else [value]
        return [_item(param, item, where) for item in items]
    return _item(param, value, where)


def _item(param: click.Parameter, value: Any, where: str) -> str | bool | list[Any]:
    if isinstance(value, dict) or (isinstance(value, list) and _takes_text(param)):
        kind = "list" if isinstance(value, list) else "mapping"
        raise UsageError(f"{where} expects one value, got a {kind}.")
    if value is None:
        raise UsageError(f"{where} has an empty value in its list.")
    if isinstance(value, list):
        return value  # numbers of a region, polygon or size; the option's type checks them
    text = str(value)
    if isinstance(param.type, BoolParamType):
        return _boolean(text, where)
    if isinstance(param.type, IntParamType):
        return _whole_number(text, where)
    if isinstance(param.type, FloatParamType):
        return _number(text, where)
    return text


def _takes_text(param: click.Parameter) -> bool:
    kinds = (click.Path, StringParamType, BoolParamType, IntParamType, FloatParamType, click.Choice)
    return isinstance(param.type, kinds)


def _boolean(text: str, where: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise UsageError(f"{where} expects true or false, got '{text}'.")


def _whole_number(text: str, where: str) -> str:
    if _WHOLE.fullmatch(text):
        return text
    if _NUMBER.fullmatch(text) and float(text.replace(".inf", "inf")).is_integer():
        return str(int(float(text)))  # 1e3
    raise UsageError(f"{where} expects a whole number, got '{text}'.{_hint(text)}")


def _number(text: str, where: str) -> str:
    if _NUMBER.fullmatch(text.lower()):
        return text.lower().replace(".inf", "inf").replace(".nan", "nan")
    raise UsageError(f"{where} expects a number, got '{text}'.{_hint(text)}")


def _hint(text: str) -> str:
    if not _LEADING_ZERO.fullmatch(text):
        return ""
    plain = text.replace("_", "").lstrip("-+0") or "0"
    return f" Write {plain}: readers disagree about leading zeros."
