"""What every source of frames is, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from edge_ad.closeable import Closeable, ClosedAtExit
from edge_ad.frame import Grab


class Source(Closeable, Protocol):
    """An open camera, file or folder: iterate once, in a `with` block.

    `name` is fit for logs: credentials are removed. A `live` source delivers only its newest frame
    and counts in `dropped` those it replaced before anybody took them; any other delivers every
    frame. Iterating ends with the data; it raises SourceLost when a camera dies or data there was
    none, SourceTimeout when no frame came in time.
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


class ScriptedSource(ClosedAtExit):
    """A source that delivers the grabs it was given: for tests of everything behind a source."""

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
