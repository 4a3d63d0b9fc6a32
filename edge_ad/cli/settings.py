"""Options from a configuration file and from the environment, as defaults of the command line.

The command line wins over the environment, the environment over the file, the file over defaults.
A value is read as if it were typed after its option: nothing becomes a boolean or an octal number
on the way. Keys that no option has are refused, in both places.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.config_file import raise_problems, read_config_file
from edge_ad.cli.values import ClickValue, to_click
from edge_ad.cli.verbs import unknown
from edge_ad.errors import UsageError
from edge_ad.strict_yaml import YamlProblem, parse_yaml

PREFIX = "EDGE_AD_"
ORIGINS = "edge_ad.origins"  # in the meta of a context: parameter name -> origin
CAMERAS = "edge_ad.cameras"  # there: the cameras of a line file, if it lists them
PROBLEMS = "edge_ad.problems"  # there: what is wrong with a line file, for `run --check` to add to
UNSETTABLE = frozenset({"config", "print_config", "help", "check", "schema"})


def read_settings(ctx: click.Context, path: Path | None) -> None:
    """Set the values of file and environment as click's defaults, after checking every key.

    Raises UsageError, which names the file or the variable.
    """
    known = settable(ctx.command)
    values: dict[str, Any] = {}
    origins: dict[str, str] = ctx.meta.setdefault(ORIGINS, {})
    sources: list[tuple[str, Iterable[tuple[str, ClickValue]]]] = []
    if path is not None:
        file = read_config_file(path, known, ctx, getattr(ctx.command, "camera_keys", {}))
        ctx.meta[CAMERAS], ctx.meta[PROBLEMS] = file.cameras, file.problems
        if not hasattr(ctx.command, "camera_keys"):
            raise_problems(file.problems)
        sources.append(("file", file.values.items()))
    sources.append(("environment", _from_environment(ctx, known)))
    for origin, settings in sources:
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
    """Return the beginning of a verb's variables: `EDGE_AD_RUN_`, `EDGE_AD_BUNDLE_SIGN_`."""
    names, above = [ctx.info_name or ctx.command.name], ctx.parent
    while above is not None and above.parent is not None:
        names, above = [above.info_name, *names], above.parent
    return f"{PREFIX}{'_'.join(filter(None, names))}_".replace("-", "_").upper()


def config_variable(ctx: click.Context) -> Path | None:
    """Return the configuration file that the environment names."""
    text = os.environ.get(variable_prefix(ctx) + "CONFIG")
    return Path(text) if text else None


def _from_environment(
    ctx: click.Context, known: Mapping[str, click.Parameter]
) -> Iterator[tuple[str, ClickValue]]:
    prefix = variable_prefix(ctx)
    for name in sorted(os.environ):
        text = os.environ[name]
        if name.startswith(prefix) and name != prefix + "CONFIG" and text:
            key = name.removeprefix(prefix).lower()
            if key not in known:
                names = [prefix + key.upper() for key in known]
                raise UsageError(unknown("variable", name, names))
            yield key, to_click(known[key], _list_or_text(name, text), name)
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
