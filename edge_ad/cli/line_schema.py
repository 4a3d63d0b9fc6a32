"""The JSON schema of a line file, made from the options of `run`."""

from __future__ import annotations

from typing import Any

import click
from click.types import BoolParamType, FloatParamType, IntParamType

from edge_ad.cli.config_file import CAMERA_LIST
from edge_ad.cli.geometry import Polygon, Roi, Tiles
from edge_ad.cli.settings import settable
from edge_ad.source.named import NAME

Schema = dict[str, Any]

_WHOLE = {"type": "integer"}
_POINT = {"type": "array", "items": _WHOLE, "minItems": 2, "maxItems": 2}
_BETWEEN = r"[\[\](),'\sx]"  # numbers of a region, of corners or of tiles


def _text(count: int, most: str | int) -> Schema:
    """Return the pattern of a text with this many whole numbers, and at most `most` + 1."""
    more = f"({_BETWEEN}+-?[0-9]+){{{count - 1},{most}}}"
    return {"pattern": f"^{_BETWEEN}*-?[0-9]+{more}{_BETWEEN}*$"}


def _numbers(count: int, item: Schema) -> Schema:
    """Return the schema of this many whole numbers, as a list or as text."""
    limits = {"type": ["string", "array"], "minItems": count, "maxItems": count}
    return limits | {"items": item} | _text(count, count - 1)


_KINDS: tuple[tuple[type[click.ParamType[Any]], Schema], ...] = (
    (BoolParamType, {"type": "boolean"}),
    (IntParamType, _WHOLE),
    (FloatParamType, {"type": "number"}),
    (Roi, _numbers(4, {"type": "integer", "minimum": 0})),
    (Polygon, _text(6, "") | {"type": ["string", "array"], "items": _POINT, "minItems": 3}),
    (Tiles, _numbers(2, {"type": "integer", "minimum": 1, "maximum": 64})),
)


def line_schema(command: click.Command) -> Schema:
    """Return the JSON schema (draft 2020-12) of a line file; `command` is `run`."""
    properties = {key: _property(param) for key, param in settable(command).items()}
    cameras = {key: _property(param) for key, param in command.camera_keys.items()}  # type: ignore[attr-defined]
    for schema in cameras.values():
        schema.pop("default", None)  # a camera's default is the line's value
    cameras["name"] |= {"pattern": f"^{NAME}$"}
    entry = {"type": "object", "properties": cameras, "required": ["source"]}
    properties[CAMERA_LIST] = {
        "type": "array",
        "minItems": 1,
        "description": "Cameras, each with what differs from the rest of the file.",
        "items": {
            "anyOf": [
                {"type": ["string", "integer"], "description": "[NAME=]URI"},
                entry | {"additionalProperties": False},
            ]
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of edge-ad",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _property(param: click.Parameter) -> Schema:
    """Return the schema of an option's value; a repeating option takes one value or a list."""
    value = _value(param)
    if getattr(param, "multiple", False):
        value = {"anyOf": [value, {"type": "array", "items": value}]}
    text = getattr(param, "help", None)
    if text:
        value["description"] = text
    if not callable(param.default) and isinstance(param.default, (bool, int, float, str)):
        value["default"] = param.default
    return value


def _value(param: click.Parameter) -> Schema:
    kind = param.type
    if isinstance(kind, click.Choice):
        return {"enum": list(kind.choices)}
    for known, schema in _KINDS:
        if isinstance(kind, known):
            return schema | _limits(kind)
    return {"type": ["string", "integer"]}  # text, which `0` is not: cameras have numbers


def _limits(kind: click.ParamType[Any]) -> Schema:
    """Return the limits of a range."""
    if not isinstance(kind, (click.IntRange, click.FloatRange)):
        return {}
    limits: Schema = {}
    if kind.min is not None:
        limits["exclusiveMinimum" if kind.min_open else "minimum"] = kind.min
    if kind.max is not None:
        limits["exclusiveMaximum" if kind.max_open else "maximum"] = kind.max
    return limits
