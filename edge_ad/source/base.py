"""The interface of all sources of frames."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edge_ad.closeable import Closeable, ClosedAtExit
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.frame import Grab
from edge_ad.images import BitDepth
from edge_ad.uri import Uri, whole_number

_log = logging.getLogger(__name__)


class Source(Closeable, Protocol):
    """An open camera, file or folder: iterate once, in a `with` block.

    `name` is the URI without credentials. A `live` source delivers its newest frame only and counts
    in `dropped` those that a newer one replaced; any other delivers every frame. `left_out` are the
    files of a folder that are not images, name to reason. Iterating ends
    with the data; it raises SourceLost when a camera dies or there was no data, SourceTimeout when
    no frame came in time.
    """

    @property
    def name(self) -> str: ...

    @property
    def live(self) -> bool: ...

    @property
    def dropped(self) -> int: ...

    @property
    def left_out(self) -> Mapping[str, str]: ...

    def __iter__(self) -> Iterator[Grab]: ...

    def recorded(self, index: int) -> None:
        """Note that the verdict on the grab with this index is recorded."""

    def close(self) -> None:
        """Release the device within bounded time; a second call does nothing."""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """The input of a source's opener; `name` is for frames, messages and logs.

    `bit_depth` is the one that 16-bit values are read with, unless the URI names another. An opener
    that waits without limit ends when `closed` is set.
    """

    uri: Uri
    name: str
    timeout_s: float = 10.0
    open_within_s: float = 15.0
    bit_depth: BitDepth | None = None
    closed: threading.Event = field(default_factory=threading.Event)

    def depth(self) -> BitDepth | None:
        """Return the depth that the URI's `bit_depth` or the request names, None for neither.

        Raises UsageError for a URI's depth that is no depth, or contradicts the engine's.
        """
        bits = whole_number(self.uri, "bit_depth", 0, least=8) if self._names_depth else None
        if bits is not None and bits > 16:
            raise UsageError(f"{self.name}: option bit_depth must be 8 to 16, got {bits}.")
        other = self.bit_depth
        if bits is None or other is None:
            return BitDepth(bits) if bits else other
        if other.bits not in {8, bits}:
            raise IncompatibleError(
                f"{self.name}: its option bit_depth contradicts the depth of {other}. Remove one."
            )
        return BitDepth(bits)

    @property
    def _names_depth(self) -> bool:
        return "bit_depth" in self.uri.options


def warn_of_trigger(request: SourceRequest, source: str) -> None:
    """Warn that a camera is set to wait for a signal of which its URI says nothing."""
    _log.warning(
        "%s: the camera is set to wait for a trigger, at %s: frames come only with its signal. "
        "Write trigger=%s for a frame a part, or set the camera's TriggerMode to Off",
        *(request.name, source, source),
    )


class ScriptedSource(ClosedAtExit):
    """A source that delivers given grabs, for tests of everything behind a source."""

    def __init__(self, grabs: Iterable[Grab], *, name: str = "scripted") -> None:
        self.name = name
        self.live = False
        self.dropped = 0
        self.left_out: Mapping[str, str] = {}
        self.closed = False
        self._grabs = grabs

    def __iter__(self) -> Iterator[Grab]:
        return iter(self._grabs)

    def recorded(self, index: int) -> None:
        """Do nothing: a script needs no memory."""

    def close(self) -> None:
        self.closed = True
