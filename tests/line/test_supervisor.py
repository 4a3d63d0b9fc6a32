"""Several cameras on one engine that takes several images a call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import Prediction
from edge_ad.engine.onnxruntime import OnnxRuntimeEngine
from edge_ad.frame import Image
from edge_ad.frame_gate import FrameGate
from edge_ad.line.config import LineConfig
from edge_ad.line.open import open_line
from tests.line.memory import Memory
from tests.timing import LIMIT_S

MakePath = Callable[..., Path]
SMALL = "width=64&height=48"  # spares drawing


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collect the batch size of each call of ONNX Runtime; a call takes 40 ms longer."""
    sizes: list[int] = []
    infer = OnnxRuntimeEngine.infer

    def watched(self: OnnxRuntimeEngine, batch: Image) -> Prediction:
        time.sleep(0.04)
        sizes.append(len(batch))
        return infer(self, batch)

    monkeypatch.setattr(OnnxRuntimeEngine, "infer", watched)
    yield sizes


def run_line(
    cameras: tuple[str, ...], engine: Path, **settings: Any
) -> tuple[Memory, dict[str, Any]]:
    memory = Memory()
    with open_line(LineConfig(cameras, engine, **settings), [memory]) as line:
        line.start()
        assert line.wait(LIMIT_S)
        result = line.finish()
    line.raise_errors()
    return memory, result


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("tiles", [(1, 1), (2, 2)], ids=str)
def test_cameras_together_get_the_results_of_each_alone(
    make_engine: MakePath, make_folder: MakePath, batch: int | None, tiles: tuple[int, int]
) -> None:
    engine, geometry = make_engine(batch=batch), {"tiles": tiles}
    folders = [
        make_folder("first", 20, bright=(3, 4, 5)),
        make_folder("second", 12, bright=(0, 7)),
        make_folder("third", 1),
    ]
    together, result = run_line(tuple(map(str, folders)), engine, geometry=geometry, threshold=0.5)
    assert (result["judged"], result["dropped"]) == (33, 0)
    for folder in folders:
        alone, _ = run_line((str(folder),), engine, geometry=geometry, threshold=0.5)
        assert together.of(folder.name) == alone.inspections


@pytest.mark.parametrize("batch", [3, None])
def test_frames_of_several_cameras_share_a_call(
    make_engine: MakePath, make_folder: MakePath, calls: list[int], batch: int | None
) -> None:
    folders = tuple(str(make_folder(name, 20)) for name in ("a", "b", "c"))
    engine = make_engine(batch=batch)
    calls.clear()
    _, result = run_line(folders, engine)
    assert result["judged"] == 60
    assert sum(calls[1:]) >= 60  # the first warms the engine up, as others do for other threads
    assert len(calls) < 60, "every frame had its own call"


def test_live_cameras_are_judged_by_their_newest_frames_in_order(
    make_engine: MakePath, calls: list[int]
) -> None:
    cameras = tuple(f"pattern://?{SMALL}&fps=40&frames=30&seed={seed}" for seed in (1, 2))
    memory, result = run_line(cameras, make_engine(batch=3))
    for camera in result["cameras"]:
        numbers = [result.frame for result in memory.of(camera["source"])]
        assert numbers == sorted(set(numbers)) and numbers[-1] == 29
        assert len(numbers) == camera["frames"]


def test_a_camera_that_dies_does_not_hold_the_others(
    make_engine: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = partial(FrameGate, stale_after_s=LIMIT_S)  # on a busy computer frames grow old
    monkeypatch.setattr("edge_ad.line.open.FrameGate", patient)
    cameras = (f"pattern://?{SMALL}&fps=40&faults=lost@3", f"pattern://?{SMALL}&fps=40&seed=2")
    _, result = run_line(cameras, make_engine(batch=3), frames=12)
    dying, living = result["cameras"]
    assert dying["camera_faults"] >= 1 and dying["frames"] >= 12
    assert (living["camera_faults"], living["judged"]) == (0, 12)


def test_stopping_ends_cameras_that_wait_for_each_other(make_engine: MakePath) -> None:
    cameras = (f"pattern://?{SMALL}&fps=20", f"pattern://?{SMALL}&fps=3&seed=2")
    memory = Memory()
    with open_line(LineConfig(cameras, make_engine(batch=3)), [memory]) as line:
        line.start()
        assert memory.received.wait(LIMIT_S)
        line.stop.set()
        result = line.finish()
    assert not {thread.name for thread in threading.enumerate()} & set(cameras)
    assert all(np.isfinite(camera["fps"]) for camera in result["cameras"])
