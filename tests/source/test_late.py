"""A camera that opens in its own thread, and is closed while it does."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import Frame
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


def frame() -> Frame:
    return Frame(np.zeros((8, 8, 3), np.uint8), 7, 0.0, "late")


def test_iterating_waits_for_the_camera_and_passes_on_what_was_recorded() -> None:
    noted: list[int] = []

    class Remembering(ScriptedSource):
        def recorded(self, index: int) -> None:
            noted.append(index)

    may_open, source = threading.Event(), Remembering([frame()])
    source.dropped, source.left_out = 3, {"notes.txt": "no image"}

    def opener() -> Source:
        assert may_open.wait(LIMIT_S)
        return source

    late = LateSource("late", opener)
    late.recorded(1)  # of nothing
    assert (late.dropped, late.left_out) == (0, {})
    second = Beside(lambda: list(late))
    second()
    may_open.set()
    assert [grab.index for grab in second.result()] == [7]
    late.recorded(7)
    assert (noted, late.dropped, late.left_out) == ([7], 3, source.left_out)
    late.close()
    assert source.closed


@pytest.mark.parametrize("error", [SourceLost("it is absent"), UsageError("no such option")])
def test_an_absent_camera_is_waited_for_and_a_wrong_one_is_not(error: Exception) -> None:
    def opener() -> Source:
        raise error

    late = LateSource("late", opener)
    if isinstance(error, UsageError):
        with pytest.raises(UsageError, match="no such option"):
            late.wait(LIMIT_S)
    else:
        late.wait(LIMIT_S)
    with pytest.raises(type(error), match=str(error)):
        next(iter(late))
    late.close()


def test_a_camera_that_is_closed_while_it_opens_is_closed_when_it_has() -> None:
    may_open, source = threading.Event(), ScriptedSource([frame()])

    def opener() -> Source:
        assert may_open.wait(LIMIT_S)
        return source

    late = LateSource("late", opener)
    late.close()
    assert list(late) == []
    may_open.set()
    for thread in threading.enumerate():
        if thread.name == "open late":
            thread.join(LIMIT_S)
    assert source.closed and list(late) == []
