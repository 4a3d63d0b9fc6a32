"""A watched folder whose images are taken in one thread and recorded in another."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from edge_ad.source.ledger import FileState, Ledger
from edge_ad.source.watch import LEDGER
from tests.beside import Beside
from tests.source.test_watch import Watch, png


class SlowLedger(Ledger):
    """A ledger that calls `seam` while it notes a file, and is used by one thread at a time."""

    seam: Callable[[], object] = staticmethod(lambda: None)
    notes = False

    def add(self, state: FileState) -> None:
        self.notes = True
        self.seam()
        super().add(state)
        self.notes = False

    def forget_all_but(self, names: Collection[str]) -> None:
        assert not self.notes
        super().forget_all_but(names)

    def close(self) -> None:
        assert not self.notes
        super().close()


@pytest.mark.parametrize("beside", [lambda watch: watch.take(1, record=False), Watch.close])
def test_a_verdict_is_noted_while_nothing_else_uses_the_ledger(
    beside: Callable[[Watch], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.source.test_watch.Ledger", SlowLedger)
    watch = Watch(tmp_path)
    (tmp_path / "a.png").write_bytes(png())
    (grab,) = watch.take(1, record=False)
    (tmp_path / "b.png").write_bytes(png())
    second = Beside(lambda: beside(watch))
    monkeypatch.setattr(SlowLedger, "seam", staticmethod(second))
    watch.source.recorded(grab.index)
    second.result()
    watch.close()
    assert grab.file in (tmp_path / LEDGER).read_text()
