"""One browser for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.page.browser import Browser, missing_browser, running_browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser; skip the test where there is none."""
    if missing := missing_browser():
        pytest.skip(missing)
    with running_browser(tmp_path_factory.mktemp("browser") / "chromedriver.log") as browser:
        yield browser
