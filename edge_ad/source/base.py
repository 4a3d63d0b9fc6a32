"""The interface of all sources of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edge_ad.closeable import Closeable, ClosedAtExit
from edge_ad.frame import Grab
from edge_ad.uri import Uri


class Source(Closeable, Protocol):
    """An open camera, file or folder: iterate once, in a `with` block.

    `name` is the URI without credentials. A `live` source delivers its newest frame only and counts
    in `dropped` those that a newer one replaced; any other delivers every frame. Iterating ends
    with the data; it raises SourceLost when a camera dies or there was no data, SourceTimeout when
    no frame came in time.
    """

    @property
    def name(self) -> str: ...

    @property
    def live(self) -> bool: ...

    @property
    def dropped(self) -> int: ...

    def __iter__(self) -> Iterator[Grab]: ...

    def close(self) -> None:
        """Release the device within bounded time; a second call does nothing."""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """The input of a source's opener; `name` is for frames, messages and logs."""

    uri: Uri
    name: str
    timeout_s: float = 10.0
    open_within_s: float = 15.0


class ScriptedSource(ClosedAtExit):
    """A source that delivers given grabs, for tests of everything behind a source."""

    def __init__(self, grabs: Iterable[Grab], *, name: str = "scripted") -> None:
        self.name = name
        self.live = False
        self.dropped = 0
        self.closed = False
        self._grabs = grabs

    def __iter__(self) -> Iterator[Grab]:
        return iter(self._grabs)

    def close(self) -> None:
        self.closed = True
