"""Events, threshold and trends in a real browser, as people on a shift use them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
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

LEFT = "\ue012"
VIEWS = ("/events", "/events/2", "/dataset", "/threshold?camera=top", "/trends?camera=top&span=1h",
         "/health", "/audit")  # fmt: skip


class Judged(NamedTuple):
    running: RunningLine
    page: ServedPage
    browser: Browser

    def open(self, path: str) -> None:
        self.browser.open(f"http://{self.page.host}{path}")
        self.wait("true")

    def wait(self, condition: str) -> None:
        """Wait until a condition holds on a page whose scripts have run."""
        self.browser.wait(f"document.readyState === 'complete' && ({condition})")


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


def write_minute(path: Path, rejected: list[float]) -> None:
    """Write the statistics of the minute that is over."""
    scores = Counter(score_bin(score) for score in [*[0.1] * 57, *rejected])
    minute = datetime.now(timezone.utc) - timedelta(minutes=1)
    row = (minute.isoformat()[:16] + "Z", "top", 57, 3, 0, 2, json.dumps(scores), None, 80.0, 5.0)
    connection = connect(path)
    with closing(connection):
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO statistics VALUES ({marks})", row)
        # the parts of that minute, so that counts and events agree
        connection.execute(
            "UPDATE events SET time_utc = ? WHERE type = 'reject'",
            (minute.isoformat(timespec="milliseconds"),),
        )


def test_a_person_judges_one_event_by_keys(judged: Judged) -> None:
    browser = judged.browser
    judged.open("/events?what=reject")
    browser.click("ol.events li:last-child a b")
    loaded = "[...document.querySelectorAll('.panels img')].filter(i => i.naturalWidth > 0).length"
    judged.wait(f"{loaded} === 2")
    assert "times the threshold" in browser.text(".verdict")
    first = browser.run("return location.pathname")
    browser.press("r")
    judged.wait("document.querySelector('.verdict .badge.real') !== null")
    browser.press(LEFT)
    judged.wait(f"location.pathname !== '{first}'")


def test_several_events_are_marked_at_once(judged: Judged) -> None:
    browser = judged.browser
    judged.open("/events?what=reject")
    browser.click("#all")
    judged.wait("document.getElementById('dataset').href.split(',').length === 3")
    browser.click("button[value=false-alarm]")
    judged.wait("document.querySelectorAll('.badge.false-alarm').length === 3")
    browser.click("button[value=ack]")
    judged.wait("document.querySelector('#list output').innerText.includes('at least one')")


def test_a_threshold_is_asked_about_set_and_undone(judged: Judged) -> None:
    browser, running = judged.browser, judged.running
    judged.open("/threshold?camera=top")
    would = "document.querySelector('#answer tbody tr td:last-child b').innerText"
    assert browser.run(f"return {would}") == "3"
    browser.run(
        "const s = document.getElementById('slider'); s.value = s.max; "
        "s.dispatchEvent(new Event('input'))"
    )
    judged.wait(f"{would} === '0'")
    assert browser.run("return Number(document.getElementById('number').value)") > 1
    browser.type("form[data-post='/threshold'] input[name=reason]", "new varnish")
    browser.click("form[data-post='/threshold'] button.main")
    judged.wait("document.querySelector('.now .badge') !== null")
    assert running.judge("top", "R") == ["PASS"]  # the next frame
    browser.type("form[data-post='/threshold/undo'] input[name=reason]", "it was dust")
    browser.click("form[data-post='/threshold/undo'] button")
    judged.wait("document.querySelector('.now .badge') === null")
    assert running.judge("top", "R") == ["REJECT"]
    assert "it was dust" in browser.text("[aria-labelledby=changes]")


@pytest.mark.parametrize("path", VIEWS)
def test_views_with_content_fit_a_phone_and_everybody(path: str, judged: Judged) -> None:
    browser = judged.browser
    try:
        for dark, (width, height) in ((False, (1280, 900)), (True, (360, 740))):
            browser.size(width, height, dark=dark)
            browser.messages()
            judged.open(path)
            assert accessibility_problems(browser) == []
            wide = browser.run("return document.documentElement.scrollWidth")
            assert wide <= width
            assert browser.messages() == []
    finally:
        browser.size(1280, 900)
