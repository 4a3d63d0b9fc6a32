"""Optimised graphs that are kept for the next start: used when whole and right, else made again."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import graph_cache, switching
from edge_ad.engine.base import Prediction
from edge_ad.engine.graph_cache import GraphCache, cache_of
from edge_ad.engine.onnxruntime import OnnxRuntimeEngine
from edge_ad.engine.options import EngineOptions
from edge_ad.engine.switching import SwitchingEngine
from edge_ad.errors import MissingExtra

GREEN = Path(__file__).parent.parent / "engines" / "green-16-b1.onnx"


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(switching, "physical_cores", lambda: 2)


@pytest.fixture
def kept() -> GraphCache:
    """Return the entry of an engine that was started once."""
    predict()
    cache = cache_of(GREEN)
    assert cache is not None and cache.graph() is not None
    return cache


def predict(path: Path = GREEN) -> Prediction:
    with SwitchingEngine(path, EngineOptions()) as engine:
        assert engine._sessions
        batch = np.random.default_rng(1).integers(
            0, 256, (1, *engine.manifest.size_hw, 3), np.uint8
        )
        return engine.infer(batch)


def expected() -> Prediction:
    with OnnxRuntimeEngine(GREEN) as engine:
        batch = np.random.default_rng(1).integers(
            0, 256, (1, *engine.manifest.size_hw, 3), np.uint8
        )
        return engine.infer(batch)


def refuse_to_optimise(monkeypatch: pytest.MonkeyPatch) -> None:
    def optimises(*arguments: Any) -> None:
        raise AssertionError("the file was opened, not the graph that is kept")

    monkeypatch.setattr(switching, "open_session", optimises)


@pytest.mark.usefixtures("kept")
def test_the_next_start_maps_what_the_first_has_optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_optimise(monkeypatch)
    assert np.array_equal(predict().maps, expected().maps)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def answer_otherwise(folder: Path) -> None:
    check = folder / "check.json"
    check.write_text(check.read_text().replace('"answer": "', '"answer": "0'))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip(folder / "graph.onnx"),
        lambda folder: (folder / "graph.onnx").write_bytes(b""),
        lambda folder: (folder / "graph.onnx").unlink(),
        lambda folder: (folder / "weights.bin").write_bytes(b"left over"),
        lambda folder: (folder / "check.json").write_text("{"),
        lambda folder: (folder / "check.json").write_text("[]"),
        lambda folder: (folder / "check.json").write_bytes(b"\xff"),
        answer_otherwise,
    ],
)
def test_a_damaged_entry_is_made_again(kept: GraphCache, damage: Callable[[Path], Any]) -> None:
    shutil.copytree(kept.folder, kept.folder.parent.parent / "good")
    damage(kept.folder)
    assert np.array_equal(predict().maps, expected().maps)
    good = (kept.folder.parent.parent / "good" / "check.json").read_text()
    assert (kept.folder / "check.json").read_text() == good


def test_a_graph_that_cannot_be_loaded_is_made_again(kept: GraphCache) -> None:
    (kept.folder / "graph.onnx").write_bytes(b"no graph")
    digests = graph_cache._digests(kept.folder)
    text = (kept.folder / "check.json").read_text()
    (kept.folder / "check.json").write_text(
        text.replace(text.split('"graph.onnx": "')[1][:64], digests["graph.onnx"])
    )
    assert np.array_equal(predict().maps, expected().maps)


def test_another_version_processor_or_file_is_another_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = cache_of(GREEN)
    copy = tmp_path / "copy.onnx"
    shutil.copy(GREEN, copy)
    assert cache_of(copy) == first
    copy.write_bytes(copy.read_bytes() + b"\x00")
    assert cache_of(copy) != first
    monkeypatch.setattr(graph_cache, "_processor", lambda: "other")
    assert cache_of(GREEN) != first


def test_the_oldest_entries_make_room(kept: GraphCache) -> None:
    root = kept.folder.parent
    for number in range(10):
        shutil.copytree(kept.folder, root / f"old-{number}")
        os.utime(root / f"old-{number}" / "check.json", (number, number))
    kept.remove()
    predict()
    assert {path.name for path in root.iterdir()} == {
        kept.folder.name, *(f"old-{number}" for number in range(3, 10))
    }  # fmt: skip


def test_two_starts_at_once_leave_one_entry(kept: GraphCache, tmp_path: Path) -> None:
    shutil.copytree(kept.folder, tmp_path / "late")
    (tmp_path / "late" / "check.json").unlink()
    kept.keep(tmp_path / "late", expected())
    assert kept.graph() is not None
    assert [path.name for path in kept.folder.parent.iterdir()] == [kept.folder.name]


@pytest.mark.parametrize("home", ["/proc/none", "relative-file"])
def test_an_engine_runs_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str
) -> None:
    (tmp_path / "relative-file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
    assert np.array_equal(predict().maps, expected().maps)


def test_a_missing_runtime_is_reported_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"edge-ad\[onnxruntime\]"):
        SwitchingEngine(GREEN, EngineOptions())


def test_an_engine_runs_where_there_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", none)
    assert cache_of(GREEN) is None
    assert np.array_equal(predict().maps, expected().maps)


def test_what_killed_starts_have_left_is_removed(kept: GraphCache) -> None:
    root = kept.folder.parent
    old, fresh = root / ".new-old", root / ".new-fresh"
    for folder in (old, fresh):
        (folder / "graph").mkdir(parents=True)
    os.utime(old, (0, 0))
    kept.remove()
    predict()
    assert not old.exists() and fresh.exists() and kept.graph() is not None
