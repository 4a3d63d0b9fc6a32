"""The messages to a line: one JSON object a line, each key known and of its type."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge_ad.errors import UsageError

LONGEST_BYTES = 64 << 10
ALL_CAMERAS = "*"

Text = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]  # one line
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Person = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class _Message(BaseModel):
    """`by` is the person for whom a program asks, such as the page."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    by: Person | None = None


class _OfCamera(_Message):
    """`camera` may be left out where the line has one camera."""

    camera: Name | None = None
    reason: Text = ""


class GetState(_Message):
    """Return the state of the line and of its cameras."""

    command: Literal["state"]


class GetLive(_Message):
    """Return the state, and the latest inspection of each camera.

    With `known`, the part of each camera that the asker has, later ones come with their frames.
    """

    command: Literal["live"]
    known: Annotated[dict[Name, int], Field(max_length=1000)] | None = None


class SetThreshold(_OfCamera):
    """Reject above another score."""

    command: Literal["set_threshold"]
    threshold: float


class SetRule(_OfCamera):
    """Change the alarm rule; what is left out stays."""

    command: Literal["set_rule"]
    k: Count | None = None
    n: Count | None = None
    hysteresis: Annotated[float, Field(ge=0, le=1)] | None = None


class UndoSetting(_OfCamera):
    """Return to the value before the last change."""

    command: Literal["undo"]
    setting: Literal["threshold", "rule"]


class PauseCamera(_OfCamera):
    """Judge no frame of a camera until it is resumed; `*` means all cameras."""

    command: Literal["pause"]


class ResumeCamera(_OfCamera):
    """Judge a paused camera again; `*` means all cameras."""

    command: Literal["resume"]


class AcknowledgeEvents(_Message):
    """Note that a person has seen events: by `seq`, event id or alarm id."""

    command: Literal["acknowledge"]
    ids: Annotated[list[Name], Field(min_length=1, max_length=100)]
    reason: Text = ""


class FireTrigger(_Message):
    """Ask for the next frame of a camera with a software trigger."""

    command: Literal["trigger"]
    camera: Name | None = None


Request: TypeAlias = Annotated[
    GetState
    | GetLive
    | SetThreshold
    | SetRule
    | UndoSetting
    | PauseCamera
    | ResumeCamera
    | AcknowledgeEvents
    | FireTrigger,
    Field(discriminator="command"),
]
_ADAPTER: TypeAdapter[Request] = TypeAdapter(Request)


class MalformedMessage(UsageError):
    """A line is no message."""


def parse_request(line: bytes) -> Request:
    """Return the request in one line. Raises MalformedMessage, which says what was expected."""
    try:
        text = line.decode()  # json would take UTF-16 as well
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not one JSON object a line: {error}") from error
    if not isinstance(content, dict):
        raise MalformedMessage("not one JSON object a line.")
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        raise MalformedMessage(_explain(error)) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _explain(error: ValidationError) -> str:
    """Return one clause for each wrong key, at most three."""
    parts = []
    for problem in error.errors(include_url=False, include_input=False)[:3]:
        place = ".".join(str(part) for part in problem["loc"][1:])
        parts.append(f"{place}: {problem['msg']}" if place else str(problem["msg"]))
    text = "; ".join(parts)[:500]
    return "".join(letter if letter.isprintable() else "?" for letter in text)
