"""Shorter pauses than a factory needs, and longer time limits, for a busy computer."""

from __future__ import annotations

import pytest

from edge_ad.outlet.delivery_state import Pauses
from tests.timing import LIMIT_S


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.outlet.delivery._DRAIN_S", LIMIT_S)
    monkeypatch.setattr("edge_ad.outlet.mqtt_session._CONNECT_S", LIMIT_S)
    monkeypatch.setattr(Pauses, "next_s", lambda self: 0.001)
    monkeypatch.setattr("edge_ad.outlet.delivery._HOPELESS_S", 0.05)
