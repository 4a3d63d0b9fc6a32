"""Read values of files and variables as if they were typed after their option."""

from __future__ import annotations

import re
from typing import Any

import click
from click.types import BoolParamType, FloatParamType, IntParamType, StringParamType

from edge_ad.errors import UsageError

_WHOLE = re.compile(r"[-+]?(0|[1-9]\d*)")
_NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\.?(inf|nan)")
_LEADING_ZERO = re.compile(r"[-+]?0[\d_]+")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})

ClickValue = str | bool | list[Any] | None


def to_click(param: click.Parameter, value: Any, where: str) -> ClickValue:
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
    if "\0" in text:
        raise UsageError(f"{where} has a zero byte, which no path or name can have. Remove it.")
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
    if _NUMBER.fullmatch(text) and float(_typed(text)).is_integer():
        return str(int(float(text)))  # 1e3
    raise UsageError(f"{where} expects a whole number, got '{text}'.{_hint(text)}")


def _number(text: str, where: str) -> str:
    if _NUMBER.fullmatch(text.lower()):
        return _typed(text.lower())
    raise UsageError(f"{where} expects a number, got '{text}'.{_hint(text)}")


def _typed(number: str) -> str:
    """Return a number of YAML as it is typed."""
    return number.replace(".inf", "inf").replace(".nan", "nan")


def _hint(text: str) -> str:
    if not _LEADING_ZERO.fullmatch(text):
        return ""
    plain = text.replace("_", "").lstrip("-+0") or "0"
    return f" Write {plain}: readers disagree about leading zeros."
