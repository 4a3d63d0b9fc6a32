"""Events, threshold and trends in a real browser, as people on a shift use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import NamedTuple

import numpy as np
import pytest

from edge_ad.images import write_image
from edge_ad.outlet.drawing import draw_evidence
from edge_ad.preprocess import AnomalyMap
from edge_ad.store.schema import DATABASE, connect
from edge_ad.store.statistics import score_bin
from tests.control.lines import RunningLine, wait_for
from tests.page.browser import Browser
from tests.page.served import ServedPage, served
from tests.page.test_browser import accessibility_problems

pytestmark = pytest.mark.slow

VIEWS = ("/events", "/events/2", "/dataset", "/threshold?camera=top", "/trends?camera=top&span=1h",
         "/health", "/audit")  # fmt: skip


class Judged(NamedTuple):
    running: RunningLine
    page: ServedPage
    browser: Browser

    def open(self, path: str) -> None:
        self.browser.open(f"http://{self.page.host}{path}")
        self.browser.wait("document.readyState === 'complete'")


@pytest.fixture(scope="module")
def judged(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """Return a line that has rejected three parts, whose images and a minute are kept."""
    folder = tmp_path_factory.mktemp("line")
    with RunningLine(folder, "top") as running, served(folder) as page:
        running.judge("top", "R.R.R.")
        wait_for(lambda: len(running.events("reject")) == 3)
        for event in running.events("reject"):
            write_image(folder / event["evidence"], evidence())
        write_minute(folder / DATABASE, [event["score"] for event in running.events("reject")])
        browser.size(1280, 900)
        yield Judged(running, page, browser)
        browser.open("about:blank")


def evidence() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    anomaly_map = AnomalyMap(np.ones((12, 16), np.float32), (0, 0), (10, 10))
    return draw_evidence(image, anomaly_map, (), 0.5, ("one", "two"))
