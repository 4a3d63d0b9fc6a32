"""The base of values that files hold: checked when they are read, and when they are written.

msgspec is used since a line reads them too: pydantic takes 10 MiB and 60 ms of its start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from typing_extensions import Self

_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`\Z")
_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`\Z", re.DOTALL)


class StoredError(ValueError):
    """A value that no file of its kind may hold."""


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A value with a fixed set of fields, compared by them.

    Reading checks types and limits; making one in code does not.
    """

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse JSON. Raises StoredError, which says what is wrong, and where."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise StoredError(problem_of(error)) from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Take dicts, lists, texts and numbers. Raises like `from_json`."""
        return cls.from_json(_json(content))

    def to_json(self, *, without_none: bool = False) -> str:
        """Return the JSON that `from_json` reads, with or without fields that are None by default.

        Raises ValueError for what it would refuse, such as NaN: no file is written with it.
        """
        content = _without_none(self) if without_none else self
        text = _json(msgspec.to_builtins(content, enc_hook=_plain))
        self.from_json(text)
        return text

    def to_dict(self, *, without_none: bool = False) -> dict[str, Any]:
        """Return the same as dicts, lists, texts and numbers. Raises like `to_json`."""
        content: dict[str, Any] = json.loads(self.to_json(without_none=without_none))
        return content

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced, which are not checked."""
        return msgspec.structs.replace(self, **changes)


def problem_of(error: Exception) -> str:
    """Return what msgspec found, with its place first, like: size_hw[0]: expected `int` >= 1."""
    text = str(error)
    at = _PLACE.search(text)
    said, place = (text[: at.start()], at[1]) if at else (text, "")
    if field := _FIELD.match(said):
        place = f"{place}.{field[2]}".lstrip(".")
        said = "Missing" if field[1] == "missing required" else "Unknown field"
    if said[1:2].islower():
        said = said[0].lower() + said[1:]
    return f"{place or 'top level'}: {said}"


def _json(content: object) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def _plain(number: Any) -> Any:
    """Return one of numpy's numbers as Python's."""
    return number.item()


def _without_none(content: Any) -> Any:
    """Return values as dicts; a field that is None but would be read as another value stays."""
    if isinstance(content, msgspec.Struct):
        fields = {field.name: field.default for field in msgspec.structs.fields(content)}
        values = {name: getattr(content, name) for name in fields}
        left = {name: v for name, v in values.items() if v is not None or fields[name] is not None}
        return {name: _without_none(value) for name, value in left.items()}
    if isinstance(content, dict):
        return {key: _without_none(item) for key, item in content.items() if item is not None}
    if isinstance(content, (list, tuple)):
        return [_without_none(item) for item in content]
    return content
