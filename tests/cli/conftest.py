"""Charts that tests of commands have no question about."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest


@cache
def _chart() -> str:
    from edge_ad.calibration.quantize import html

    return html._figure(lambda axes: None)


@pytest.fixture
def plain_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show an empty chart on pages of calibrations; drawing takes a fifth of a small one."""
    chart = _chart()

    def plain(*_: Any, **__: Any) -> str:
        return chart

    monkeypatch.setattr("edge_ad.calibration.quantize.html._figure", plain)
