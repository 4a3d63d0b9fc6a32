"""The options of an engine, as a verb takes them: `--device`, `--threads` and so on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click

from edge_ad.engine import Engine, EngineOptions, open_engine
from edge_ad.errors import MissingExtra

_MOST_THREADS = 1024


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add one option for each field of EngineOptions; the verb receives `engine_options`."""

    @functools.wraps(function)
    def verb(*args: Any, **options: Any) -> Any:
        given = {field.name: options.pop(field.name) for field in fields(EngineOptions)}
        return function(*args, engine_options=EngineOptions(**given), **options)

    types = get_type_hints(EngineOptions, include_extras=True)
    for field in reversed(fields(EngineOptions)):
        kind, text = get_args(types[field.name])
        verb = _option(field, kind, text)(verb)
    return verb


def open_artifact(path: Path, options: EngineOptions) -> Engine:
    """Open `.pt` weights with torch on the device of `options`, other files as an engine.

    Raises what `open_engine` raises, and IncompatibleError for a device that torch cannot use.
    """
    if path.suffix != ".pt":
        return open_engine(path, options)
    try:
        from edge_ad.methods.torch_engine import TorchEngine
        from edge_ad.training.device import pick_device
    except ImportError as error:
        raise MissingExtra(f"running {path.name}", "torch", "train") from error
    return TorchEngine(path, device=str(pick_device(options.device)))


def _option(field: Field[Any], kind: Any, text: str) -> Callable[..., Any]:
    """Return the click option of a field: a flag, a choice or a count, by the field's type."""
    flag = "--" + field.name.replace("_", "-")
    if kind is bool:
        names = f"{flag}/--no-{flag[2:]}" if field.default else flag
        return click.option(names, is_flag=True, default=field.default, help=text)
    choices = get_args(kind)
    return click.option(
        flag,
        type=click.Choice(choices) if choices else click.IntRange(0, _MOST_THREADS),
        default=field.default,
        show_default=bool(choices),
        help=text,
    )
