"""A camera that opens in its own thread, and is closed while it does."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_ad.source import ScriptedSource
from edge_ad.source.base import Source
from edge_ad.source.late import LateSource
from tests.beside import Beside
from tests.timing import LIMIT_S


class Seamed(LateSource):
    """Calls `seam` as it takes over what was opened."""

    seam: Callable[[], object]

    @property
    def _source(self) -> Source | None:
        source: Source | None = self.__dict__["source"]
        return source

    @_source.setter
    def _source(self, source: Source | None) -> None:
        if source is not None:
            self.seam()
        self.__dict__["source"] = source


def test_a_camera_that_is_closed_as_it_is_taken_over_does_not_stay_open() -> None:
    closing, source = threading.Event(), ScriptedSource([])

    def opener() -> ScriptedSource:
        assert closing.wait(LIMIT_S)
        return source

    late = Seamed("late", opener)
    second = Beside(late.close)
    late.seam = second
    closing.set()
    late.wait(LIMIT_S)
    second.result()
    assert source.closed
