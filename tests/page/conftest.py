"""One browser for all tests that need one, and patience."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest

from tests.page.browser import Browser, missing_browser, running_browser
from tests.timing import LIMIT_S


@pytest.fixture(autouse=True, scope="session")
def _patient() -> Iterator[None]:
    """Wait for the line's first answer on a busy computer too."""
    with mock.patch("edge_ad.page.live._WITHIN_S", LIMIT_S):
        yield


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser; skip the test where there is none."""
    if missing := missing_browser():
        pytest.skip(missing)
    with running_browser(tmp_path_factory.mktemp("browser") / "chromedriver.log") as browser:
        yield browser
