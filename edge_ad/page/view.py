"""What a view receives and returns.

A view is a function from a `PageRequest` to an `Answer`. It runs in a thread, so that it may read
the store; it raises an EdgeAdError for what is wrong, which becomes a page or JSON with that text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edge_ad.clock import parse_time
from edge_ad.errors import UsageError
from edge_ad.page.person import Person, Role
from edge_ad.page.texts import Texts

if TYPE_CHECKING:
    from edge_ad.page.door import Door


class NotThere(UsageError):
    """A page, event or image that does not exist, any more or at all."""


class NotAllowed(UsageError):
    """Something that the role of a person does not include."""


@dataclass(frozen=True, slots=True)
class Html:
    """A template of this package and the values for it."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Json:
    """An object for the script of the page; `session` begins one by its token, "" ends it."""

    values: Mapping[str, Any]
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes, or a file's; with `download` the browser saves them under that name."""

    data: bytes | Path
    kind: str
    download: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes that are made while they are sent, as a download of that name.

    The `pieces` are taken in a thread, like a view.
    """

    pieces: Iterator[bytes]
    kind: str
    download: str


Answer: TypeAlias = Html | Json | Content | Stream


@dataclass(frozen=True, slots=True)
class Entry:
    """How somebody comes in, on a page with users: the token of a session, and the address."""

    door: Door
    token: str
    address: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request to a view: the line's folder, what was asked, and who asks.

    `query` has the values of the address by name; `path` those of the route's `{name}` parts;
    `body` the JSON object of a POST; `certificate` is the file of the page's own. The readers below
    raise UsageError for what is unfit.
    """

    folder: Path
    person: Person
    texts: Texts
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    entry: Entry | None = None
    certificate: Path | None = None

    def may(self, role: Role) -> bool:
        """Return whether the person has a role."""
        return self.person.role >= role

    def many(self, name: str) -> tuple[str, ...]:
        """Return all values of a name in the address, empty ones left out."""
        return tuple(value for value in self.query.get(name, ()) if value)

    def one(self, name: str, default: str = "") -> str:
        """Return the last value of a name in the address."""
        values = self.many(name)
        return values[-1] if values else default

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return a value that must be one of some."""
        value = self.one(name, default)
        if value not in choices:
            raise UsageError(f"{name}: expected {', '.join(choices)}, got '{value}'.")
        return value

    def camera(self, known: Sequence[str], default: str) -> str:
        """Return the camera of the address, one of those known; empty without one and default."""
        camera = self.one("camera", default)
        if camera and camera not in known:
            raise UsageError(
                f"camera: the line has no '{camera[:100]}'. It has: {', '.join(known)}."
            )
        return camera

    def count(self, name: str, default: int, *, at_most: int) -> int:
        """Return a whole number from 0 to `at_most`."""
        text = self.one(name, str(default))
        if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) > at_most:
            raise UsageError(
                f"{name}: expected a whole number from 0 to {at_most}, got '{text[:40]}'."
            )
        return int(text)

    def time(self, name: str, default: str = "") -> str:
        """Return a time as text in UTC, given as an age (8h) or in ISO 8601; empty without one."""
        text = self.one(name, default)
        time = parse_time(text) if text else ""
        if time and not "1980" < time < "2200":  # spans before and after it are times, too
            raise UsageError(f"{name}: expected a time from 1980 to 2199, got '{text[:40]}'.")
        return time

    def field(self, name: str, default: str | None = None) -> str:
        """Return a text of the body, one line."""
        value = self.body.get(name, default)
        if not isinstance(value, str):
            raise UsageError(f"{name}: expected a text.")
        return " ".join(value.split())

    def decimal(self, name: str) -> float:
        """Return a finite number of the address."""
        return _finite(name, self.one(name))

    def number(self, name: str) -> float:
        """Return a finite number of the body, also one written as text."""
        return _finite(name, self.body.get(name))


def _finite(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise UsageError(f"{name}: expected a number, got '{str(value)[:40]}'.")
    return number


View: TypeAlias = Callable[[PageRequest], Answer]
