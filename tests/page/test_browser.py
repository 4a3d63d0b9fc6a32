"""The page in a real browser, as a person uses it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

import pytest

from edge_ad.page.person import Role
from edge_ad.page.routes import MENU
from edge_ad.page.users import UserFile, add_user
from tests.control.lines import RunningLine, wait_for
from tests.page.browser import Browser
from tests.page.served import ServedPage, make_store, served
from tests.page.test_live import control_clients

pytestmark = pytest.mark.slow

XSS = "<img src=x onerror='window.attacked=1'><script>window.attacked=1</script>\"'>"
TAB, ENTER = "\ue004", "\ue007"
VIEWS = [route.path for route in MENU]
# Each view's own work is over, frames and charts included.
_SETTLED = "document.readyState === 'complete'"


class Shown(NamedTuple):
    running: RunningLine
    page: ServedPage
    browser: Browser

    def open(self, path: str) -> None:
        self.browser.open(f"http://{self.page.host}{path}")
        self.browser.wait(_SETTLED)


@pytest.fixture(scope="module")
def shown(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Return a line with two cameras, one named by an attacker, and its page in the browser."""
    folder = tmp_path_factory.mktemp("line")
    with RunningLine(folder, "top", XSS) as running, served(folder) as page:
        running.judge("top", "RRR..")
        running.judge(XSS, "RR.")
        yield Shown(running, page, browser)
        browser.open("about:blank")


def judge_until(running: RunningLine, browser: Browser, part: str, condition: str) -> None:
    """Judge parts until the page shows one: a line keeps frames once a page has asked for them."""
    wait_for(lambda: running.judge("top", part) and browser.run(f"return ({condition})"))


def test_the_live_view_draws_each_part_with_its_verdict(shown: Shown) -> None:
    running, browser = shown.running, shown.browser
    browser.size(1280, 720)
    shown.open("/")
    assert browser.text("h2") == "top"
    judge_until(running, browser, "R", "document.querySelector('.tile').dataset.frame")
    first = browser.wait("document.querySelector('.tile').dataset.frame")
    assert "REJECT" in browser.text(".tile .top b")
    red = """
        const canvas = document.querySelector('.tile canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let i = 0; i < pixels.data.length; i += 4) {
          count += pixels.data[i] > 200 && pixels.data[i + 1] < 90;
        }
        return count;"""
    assert browser.run(red) > 30  # the box around the region
    running.judge("top", ".")
    browser.wait(f"document.querySelector('.tile').dataset.frame !== '{first}'")
    browser.wait("document.querySelector('.tile').dataset.verdict === 'PASS'")
    verdicts = running.verdicts("top")
    counts = f"{len(verdicts)} parts this hour, {verdicts.count('REJECT')} rejected"
    wait_for(lambda: counts in browser.text(".tile .counts"))


def test_a_hidden_tab_costs_the_line_nothing(shown: Shown) -> None:
    shown.open("/")
    wait_for(lambda: control_clients() == 1)
    with shown.browser.other_tab():
        wait_for(lambda: control_clients() == 0)
    wait_for(lambda: control_clients() == 1)


def test_a_tab_left_open_does_not_grow(shown: Shown) -> None:
    running, browser = shown.running, shown.browser
    shown.open("/")

    def judge(count: int) -> dict[str, float]:
        for _ in range(count):
            running.judge("top", "R")
            part = running.memory.inspections[-1].part
            browser.wait(f"document.querySelector('.tile').dataset.frame === '{part}'")
        browser.run("gc()")
        metrics = browser.devtools("Performance.getMetrics")["metrics"]
        return {metric["name"]: metric["value"] for metric in metrics}

    judge_until(running, browser, "R", "document.querySelector('.tile').dataset.frame")
    browser.devtools("Performance.enable")
    before, after = judge(5), judge(20)
    assert after["Nodes"] <= before["Nodes"] + 20
    assert after["JSHeapUsedSize"] < before["JSHeapUsedSize"] + (1 << 20)


def test_a_fault_says_what_to_do(shown: Shown) -> None:
    running, browser = shown.running, shown.browser
    shown.open("/")
    running.taps["top"].lose()
    browser.wait("document.querySelector('.tile .alarms').innerText.includes('Check power')")


@pytest.mark.parametrize("path", VIEWS)
def test_names_are_text_and_nothing_comes_from_elsewhere(path: str, shown: Shown) -> None:
    shown.browser.messages()
    shown.open(path)
    assert shown.browser.run("return window.attacked === undefined")
    loaded = shown.browser.run(
        "return performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)"
    )
    assert set(loaded) == {f"http://{shown.page.host}"}
    assert shown.browser.messages() == []  # no error, and nothing that the policy refused


@pytest.mark.parametrize("path", VIEWS)
def test_a_phone_shows_the_whole_width(path: str, shown: Shown) -> None:
    shown.browser.size(360, 740)
    try:
        shown.open(path)
        wide = "[document.documentElement.scrollWidth, window.innerWidth]"
        content, screen = shown.browser.run(f"return {wide}")
        assert content <= screen
    finally:
        shown.browser.size(1280, 720)


def test_a_wall_screen_is_filled(shown: Shown) -> None:
    shown.browser.size(3840, 2160)
    try:
        shown.open("/")
        last = "[...document.querySelectorAll('.tile')].at(-1).getBoundingClientRect()"
        assert 3840 * 0.96 < shown.browser.run(f"return {last}.right") <= 3840
        assert shown.browser.run("return getComputedStyle(document.body).fontSize") == "32px"
    finally:
        shown.browser.size(1280, 720)


@pytest.mark.parametrize("path", VIEWS)
def test_everybody_can_use_it(path: str, shown: Shown) -> None:
    for dark in (False, True):
        shown.browser.size(1280, 720, dark=dark)
        shown.open(path)
        assert accessibility_problems(shown.browser) == []


def test_the_keyboard_reaches_everything(shown: Shown) -> None:
    browser = shown.browser
    shown.open("/")
    browser.press(TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    browser.press(ENTER)
    assert browser.run("return document.activeElement.id") == "main"
    shown.open("/")
    browser.press(TAB, TAB, TAB)
    assert browser.run("return document.activeElement.getAttribute('href')") == VIEWS[1]
    browser.press(ENTER)
    browser.wait(f"location.pathname === '{VIEWS[1]}'")


def test_a_page_that_has_lost_its_server_shows_no_verdict_and_comes_back(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("line")
    tile = "document.querySelector('.tile').dataset"
    with RunningLine(folder, "top") as running:
        with served(folder) as page:
            browser.open(f"http://{page.host}/")
            judge_until(running, browser, ".", f"{tile}.frame && {tile}.verdict === 'PASS'")
        browser.wait("!document.getElementById('notice').hidden")
        assert browser.run(f"return [{tile}.verdict, {tile}.frame]") == ["NONE", None]
        assert browser.text(".tile").split() == ["top", "Not", "known"]
        with served(folder, port=page.port):
            browser.wait(f"document.getElementById('notice').hidden && {tile}.verdict === 'PASS'")
            judge_until(running, browser, "R", f"{tile}.frame && {tile}.verdict === 'REJECT'")
            browser.open("about:blank")


def test_a_person_logs_in_and_out(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = make_store(tmp_path_factory.mktemp("line"))
    users = folder / "page-users.yaml"
    add_user(users, "anna", Role.OPERATOR, "a long password")
    with served(folder, users=UserFile(users)) as page:
        browser.open(f"http://{page.host}{VIEWS[1]}?camera=top")
        assert accessibility_problems(browser) == []
        browser.type("[name=name]", "anna")
        browser.type("[name=password]", "a wrong password")
        browser.click("main button")
        browser.wait("document.querySelector('output').textContent === 'Wrong name or password.'")
        browser.run("return new Promise(done => setTimeout(done, 1100))")  # one a second
        browser.type("[name=password]", "a long password")
        browser.click("main button")
        browser.wait(f"location.pathname === '{VIEWS[1]}' && location.search === '?camera=top'")
        assert "anna (operator)" in browser.text("header")
        browser.click("header button")
        browser.wait("location.pathname === '/login'")
        browser.open("about:blank")


def accessibility_problems(browser: Browser) -> list[str]:
    """Return the findings of axe-core that are serious or worse."""
    axe = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    browser.run(axe)
    result = browser.run("return await axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{found['id']}: {found['help']}: {node['html'][:200]}"
        for found in result["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]
