"""One whole training for all tests that only compare with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.torch_setup import narrow_resnet18
from tests.training.runs import run
from tests.training.train_configs import tiny_training, write_parts, write_teacher


class Trained(NamedTuple):
    """The weights of an uninterrupted training with seed 0, and its report."""

    weights: Path
    report: dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def _narrow() -> Iterator[None]:
    with narrow_resnet18():
        yield


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.pth")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Trained:
    """Train once per session; tests read the folder and leave it as it is."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "teacher.pth").symlink_to(teacher)
    write_parts(folder / "parts")
    with narrow_resnet18():
        return Trained(folder / "destseg.pt", run(tiny_training(folder), whole=True))


@pytest.fixture
def folder(tmp_path: Path, teacher: Path) -> Path:
    """Return a folder with a teacher and normal parts."""
    (tmp_path / "teacher.pth").symlink_to(teacher)
    write_parts(tmp_path / "parts")
    return tmp_path
