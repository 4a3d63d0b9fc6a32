"""Shorter waits than a factory needs."""

from __future__ import annotations

import pytest

from edge_ad.outlet.delivery_state import Pauses


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pauses, "next_s", lambda self: 0.001)
    monkeypatch.setattr("edge_ad.outlet.delivery._HOPELESS_S", 0.05)
