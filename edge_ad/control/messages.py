"""The messages to a line: one JSON object a line, each key known and of its type."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from edge_ad.errors import UsageError
from edge_ad.files import printable
from edge_ad.stored import problem_of

LONGEST_BYTES = 64 << 10
ALL_CAMERAS = "*"

Text = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*\Z")]  # one line
Name = Annotated[str, Meta(min_length=1, max_length=1000)]
Person = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class _Message(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command"
):
    """A message's `command` is the tag of its class.

    `by` is the person for whom a program asks, such as the page.
    """

    by: Person | None = None

    @property
    def command(self) -> str:
        """The name of what is asked for."""
        return str(self.__struct_config__.tag)


class _OfCamera(_Message, frozen=True):
    """`camera` may be left out where the line has one camera."""

    camera: Name | None = None
    reason: Text = ""


class GetState(_Message, frozen=True, tag="state"):
    """Return the state of the line and of its cameras."""


class GetLive(_Message, frozen=True, tag="live"):
    """Return the state, and the latest inspection of each camera.

    With `known`, the part of each camera that the asker has, later ones come with their frames.
    """

    known: Annotated[dict[Name, int], Meta(max_length=1000)] | None = None


class SetThreshold(_OfCamera, frozen=True, kw_only=True, tag="set_threshold"):
    """Reject above another score."""

    threshold: float


class SetRule(_OfCamera, frozen=True, tag="set_rule"):
    """Change the alarm rule; what is left out stays."""

    k: Count | None = None
    n: Count | None = None
    hysteresis: Annotated[float, Meta(ge=0, le=1)] | None = None


class UndoSetting(_OfCamera, frozen=True, kw_only=True, tag="undo"):
    """Return to the value before the last change."""

    setting: Literal["threshold", "rule"]


class PauseCamera(_OfCamera, frozen=True, tag="pause"):
    """Judge no frame of a camera until it is resumed; `*` means all cameras."""


class ResumeCamera(_OfCamera, frozen=True, tag="resume"):
    """Judge a paused camera again; `*` means all cameras."""


class AcknowledgeEvents(_Message, frozen=True, kw_only=True, tag="acknowledge"):
    """Note that a person has seen events: by `seq`, event id or alarm id."""

    ids: Annotated[list[Name], Meta(min_length=1, max_length=100)]
    reason: Text = ""


class FireTrigger(_Message, frozen=True, tag="trigger"):
    """Ask for the next frame of a camera with a software trigger."""

    camera: Name | None = None


Request: TypeAlias = (
    GetState
    | GetLive
    | SetThreshold
    | SetRule
    | UndoSetting
    | PauseCamera
    | ResumeCamera
    | AcknowledgeEvents
    | FireTrigger
)
_DECODER: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


class MalformedMessage(UsageError):
    """A line is not a message."""


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
        return _DECODER.decode(text)
    except ValueError as error:
        raise MalformedMessage(printable(problem_of(error)[:500])) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
