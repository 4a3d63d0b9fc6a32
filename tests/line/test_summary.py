"""The summary of several cameras is that of all of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.line import tally
from edge_ad.line.alarm import PartRule
from edge_ad.line.summary import summary
from edge_ad.outlet.base import Outlets


def camera(name: str, latency_s: float) -> Any:
    counts = tally.Tally(frames=4)
    counts.latency_s.extend([latency_s] * 4)
    return SimpleNamespace(
        name=name,
        source=SimpleNamespace(name=name, left_out={}),
        tally=counts,
        alarm=SimpleNamespace(part_rule=PartRule.STREAM, rate_check=None),
        trigger=None,
        dropped=0,
    )


def test_the_latency_of_all_is_not_that_of_the_last_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_TIMES_KEPT", 4)  # each has as many as it keeps
    result = summary([camera("slow", 0.5), camera("quick", 0.1)], Outlets([]), 1.0)
    assert result["latency_ms"]["max"] == 500.0
    assert [each["latency_ms"]["p50"] for each in result["cameras"]] == [500.0, 100.0]
