"""An engine that outlives failures of its GPU, on a fake GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import Engine, OverlappingEngine, ScriptedEngine
from edge_ad.engine.base import Prediction
from edge_ad.engine.lasting import LastingEngine, LastingOverlappingEngine
from edge_ad.errors import EngineLost, IncompatibleError
from edge_ad.frame import Image
from edge_ad.line.config import ResolvedCamera
from edge_ad.store.reading import EventFilter, read_events
from tests.conftest import invoke
from tests.engine.tensorrt.fake_cuda import FakeCuda
from tests.engine.tensorrt.test_pipeline import assert_prediction, engine_on, images_of

MakePath = Callable[..., Path]


class Opener:
    """Opens engines on new fake GPUs; the first `failing` of them fail at their ninth inference."""

    def __init__(self, failing: int, *, refused: tuple[int, ...] = ()) -> None:
        self.failing, self.refused = failing, refused
        self.cudas: list[FakeCuda] = []
        self.attempts = 0

    def __call__(self) -> Engine:
        self.attempts += 1
        if self.attempts in self.refused:
            raise EngineLost("the GPU has fallen off the bus")
        fails = {"infer": 9} if len(self.cudas) < self.failing else {}
        self.cudas.append(FakeCuda(fails=fails))
        return engine_on(self.cudas[-1], graphs=False)


def lasting(opener: Callable[[], Engine], pauses: list[float] | None = None) -> LastingEngine:
    return LastingEngine(opener, pause=(pauses if pauses is not None else []).append)


def test_every_image_gets_its_prediction_although_the_gpu_fails() -> None:
    opener, reasons = Opener(failing=2), list[str]()
    with lasting(opener) as engine:
        engine.reopened = reasons.append
        for seed in range(30):
            assert_prediction(engine.infer(images_of(2, seed)), images_of(2, seed))
    assert len(opener.cudas) == 3
    assert ["the GPU failed: infer" in reason for reason in reasons] == [True, True]
    assert [(cuda.held, cuda.closed) for cuda in opener.cudas] == [(0, 1)] * 3


def test_batches_in_flight_are_submitted_again() -> None:
    opener = Opener(failing=2)
    with LastingOverlappingEngine(opener, pause=list[float]().append) as engine:
        assert isinstance(engine, OverlappingEngine)
        batch = np.empty_like(images_of(1))
        for seed in range(30):
            batch[:] = images_of(1, seed)
            engine.submit(batch)
            batch[:] = 0  # the array may be reused at once
            if seed:
                assert_prediction(engine.collect(), images_of(1, seed - 1))
        assert_prediction(engine.collect(), images_of(1, 29))
    assert len(opener.cudas) == 3


def test_another_engine_in_its_place_is_not_taken() -> None:
    engines = iter([Opener(failing=1)(), ScriptedEngine()])
    with lasting(lambda: next(engines)) as engine:
        with pytest.raises(EngineLost, match=r"Another engine is there.*Start the line again"):
            for seed in range(30):
                engine.infer(images_of(2, seed))
    assert next(engines, None) is None


def test_a_gpu_that_needs_a_moment_gets_it() -> None:
    opener, pauses = Opener(failing=1, refused=(2, 3)), list[float]()
    with lasting(opener, pauses) as engine:
        for seed in range(20):
            engine.infer(images_of(2, seed))
    assert pauses == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("error", [EngineLost("no GPU"), IncompatibleError("no driver")])
def test_one_that_cannot_be_opened_again_is_lost(error: Exception) -> None:
    engines = iter([Opener(failing=1)()])

    def opener() -> Engine:
        for engine in engines:
            return engine
        raise error

    with lasting(opener) as engine, pytest.raises(EngineLost, match=rf"cannot be.*{error}"):
        for seed in range(20):
            engine.infer(images_of(2, seed))


def test_one_that_fails_again_and_again_is_lost() -> None:
    opener = Opener(failing=99)
    with lasting(opener) as engine, pytest.raises(EngineLost, match="failed 4 times"):
        for seed in range(100):
            engine.infer(images_of(2, seed))
    assert len(opener.cudas) == 4


class FailingEngine(ScriptedEngine):
    """Loses its GPU at one call."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def infer(self, batch: Image) -> Prediction:
        if self.calls == self._at:
            raise EngineLost("the GPU failed: illegal memory access.")
        return super().infer(batch)


def run_failing(
    monkeypatch: pytest.MonkeyPatch, make_engine: MakePath, make_folder: MakePath, engines: int
) -> tuple[int, Path]:
    """Run 12 frames on engines that fail at their fifth call, of which there are so many."""
    left = iter([5] * engines)

    def opener() -> Engine:
        for at in left:
            return FailingEngine(at)
        raise EngineLost("no GPU")

    monkeypatch.setattr(
        ResolvedCamera, "open_engine", lambda _: LastingEngine(opener, pause=list[float]().append)
    )
    folder = make_folder("parts", 12, bright=(4, 5, 6))
    out = folder.parent / "out"
    done = invoke("run", "--camera", folder, "--engine", make_engine(), "-o", out, "--json")
    *_, last = map(json.loads, done.stdout.splitlines())
    assert last["type"] == ("error" if done.returncode else "summary")
    return done.returncode, out


def test_a_line_judges_on_and_records_that_the_engine_was_opened_again(
    monkeypatch: pytest.MonkeyPatch, make_engine: MakePath, make_folder: MakePath
) -> None:
    code, out = run_failing(monkeypatch, make_engine, make_folder, engines=3)
    assert code == 0
    events = list(read_events(out, EventFilter(types=("engine", "reject"))))
    assert [event["part"] for event in events if event["type"] == "reject"] == [5, 6, 7]
    reopened = [event for event in events if event["type"] == "engine"]
    assert [event["step"] for event in reopened] == ["reopened"] * 2
    assert "illegal memory access" in reopened[0]["reason"]


def test_a_lost_gpu_ends_the_line_with_its_code_and_a_closed_store(
    monkeypatch: pytest.MonkeyPatch, make_engine: MakePath, make_folder: MakePath
) -> None:
    code, out = run_failing(monkeypatch, make_engine, make_folder, engines=1)
    assert code == 7
    events = list(read_events(out, EventFilter()))
    assert (events[-1]["type"], events[-1]["step"]) == ("line", "stop")
    assert [event["part"] for event in events if event["type"] == "reject"] == [5]
    faults = [event["reason"] for event in events if event.get("kind") == "camera_fault"]
    assert "cannot be opened again: no GPU" in faults[0]
