"""The archive of the tests, in parts of two images; without pyarrow they skip."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

if importlib.util.find_spec("pyarrow") is None:
    collect_ignore_glob = ["test_*.py"]  # rejudge needs edge-ad[rejudge]
else:
    from edge_ad.rejudge import job as job_module
    from tests.rejudge.archives import write_archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return a folder of seven images below two folders."""
    return write_archive(tmp_path / "archive")


@pytest.fixture
def small_parts() -> Iterator[None]:
    """Let a part have two images, so that seven are four parts."""
    with mock.patch.object(job_module, "_PART_IMAGES", 2):
        yield
