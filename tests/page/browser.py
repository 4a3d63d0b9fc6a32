"""A real browser without a window: Chromium, through the W3C WebDriver protocol of its driver."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.timing import LIMIT_S

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's name of an element's id
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # in a container, as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--js-flags=--expose-gc",
    "--ignore-certificate-errors",
)


def missing_browser() -> str:
    """Return what is missing to drive a browser, empty when nothing is."""
    names = ("chromium", "chromedriver")
    absent = [name for name in names if shutil.which(name) is None]
    return f"needs {' and '.join(absent)} (apt install chromium chromium-driver)" if absent else ""


class WebDriverError(AssertionError):
    """The browser refused a command."""


class Browser:
    """One window of a browser."""

    def __init__(self, port: int) -> None:
        self._port = port
        options = {"args": list(_ARGUMENTS), "binary": shutil.which("chromium")}
        wishes = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wishes}})
        self._path = f"/session/{self._session['sessionId']}"

    def open(self, address: str) -> None:
        """Load a page, and wait until it is loaded."""
        self._command("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script as the body of an async function, and return its value."""
        body = f"return (async () => {{ {script} }})()"
        return self._command("POST", "/execute/sync", {"script": body, "args": list(arguments)})

    def wait(self, script: str, *arguments: object) -> Any:
        """Wait until an expression is true, and return its value."""
        until = time.monotonic() + LIMIT_S
        while not (value := self.run(f"return ({script})", *arguments)):
            assert time.monotonic() < until, f"never true: {script}"
            time.sleep(0.05)
        return value

    def text(self, selector: str) -> str:
        """Return what a person reads in the first element."""
        script = "return document.querySelector(arguments[0])?.innerText ?? null"
        value = self._command("POST", "/execute/sync", {"script": script, "args": [selector]})
        assert value is not None, f"no {selector}"
        return str(value)

    def click(self, selector: str) -> None:
        """Click on an element as a person would; something that covers it is an error."""
        self._command("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Replace the content of a field by typing."""
        element = self._find(selector)
        self._command("POST", f"/element/{element}/clear", {})
        self._command("POST", f"/element/{element}/value", {"text": text})

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": steps}]
        self._command("POST", "/actions", {"actions": actions})

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show pages as a screen of this size does, in light or dark."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def devtools(self, command: str, **parameters: object) -> Any:
        """Run a command of Chromium's DevTools protocol."""
        values = {"cmd": command, "params": parameters}
        return self._command("POST", "/goog/cdp/execute", values)

    def screenshot(self, path: Path, *, full: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(shot["data"]))

    def messages(self) -> list[str]:
        """Return what the console said since the last call, refused loads among it."""
        entries = self._command("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries]

    def close(self) -> None:
        """End the browser."""
        self._ask("DELETE", self._path)

    @contextlib.contextmanager
    def other_tab(self) -> Iterator[None]:
        """Look at another tab within the block; this one is hidden meanwhile."""
        first = self._command("GET", "/window", None)
        other = self._command("POST", "/window/new", {"type": "tab"})["handle"]
        self._command("POST", "/window", {"handle": other})
        try:
            yield
        finally:
            self._command("DELETE", "/window", None)
            self._command("POST", "/window", {"handle": first})

    def _find(self, selector: str) -> str:
        values = {"using": "css selector", "value": selector}
        return str(self._command("POST", "/element", values)[_ELEMENT])

    def _command(self, method: str, path: str, values: object) -> Any:
        return self._ask(method, f"{self._path}{path}", values)

    def _ask(self, method: str, path: str, values: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2 * LIMIT_S)
        with contextlib.closing(connection):
            body = None if values is None else json.dumps(values)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        if answer.status >= 400:
            raise WebDriverError(f"{value['error']}: {value['message']}")
        return value


@contextlib.contextmanager
def running_browser(log: Path) -> Iterator[Browser]:
    """Start driver and browser, and end both."""
    with log.open("wb") as output:
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=output, stderr=output)
    try:
        port = _wait(lambda: _port_in(log.read_text()))
        browser = Browser(port)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(LIMIT_S)


def _port_in(text: str) -> int:
    """Return the port that the driver has printed, 0 before."""
    _, found, rest = text.partition("started successfully on port ")
    return int(rest.split(".")[0]) if found and "." in rest else 0


def _wait(condition: Callable[[], int]) -> int:
    until = time.monotonic() + LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < until, "chromedriver does not start"
        time.sleep(0.05)
    return value
