"""The package of docs/extending.md brings a camera to an edge-ad that stays as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_ad.source import open_source
from tests.extending.conftest import PAGE, blocks

_ENTRY = re.compile(r'^\[project.entry-points."(.+)"\]\n(\w+) = "(.+)"$', re.MULTILINE)


def test_an_installed_package_brings_a_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((group, scheme, value),) = _ENTRY.findall(PAGE.read_text(encoding="utf-8"))
    info = tmp_path / "plant_cameras-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(f"[{group}]\n{scheme} = {value}\n", encoding="utf-8")
    (tmp_path / "plant_cameras.py").write_text(blocks()["plant_cameras.py", ""], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with open_source("plant://3?gain=2") as camera:
        assert next(iter(camera)).source == "plant://3?gain=2"
