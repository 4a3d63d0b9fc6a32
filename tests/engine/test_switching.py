"""An engine whose threads follow the load: the same outputs, whatever runs them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import onnxruntime, open_engine, switching, thread_choice, thread_variants
from edge_ad.engine.onnxruntime import OnnxRuntimeEngine
from edge_ad.engine.options import EngineOptions
from edge_ad.engine.switching import SwitchingEngine
from edge_ad.errors import IncompatibleError
from edge_ad.frame import Image
from edge_ad.line.config import LineConfig
from tests.beside import Beside

SAMPLE = Path(switching.__file__).parent.parent / "sample" / "engine.onnx"
GREEN = Path(__file__).parent.parent / "engines" / "green-16-b1.onnx"


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(thread_variants, "physical_cores", lambda: 2)
    monkeypatch.setattr(switching, "physical_cores", lambda: 2)
    monkeypatch.setattr(switching, "_FIRST_AFTER_S", 0.0)
    monkeypatch.setattr(thread_choice, "_LOOK_EVERY_S", 0.0)


def batch_for(engine: OnnxRuntimeEngine) -> Image:
    size = (1, *engine.manifest.size_hw, 3)
    return np.random.default_rng(1).integers(0, 256, size, np.uint8)


def infer_until_allowed(engine: SwitchingEngine, batch: Image) -> None:
    until = time.monotonic() + 60
    while engine._choice is None:
        assert time.monotonic() < until
        engine.infer(batch)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("path", [GREEN, pytest.param(SAMPLE, marks=pytest.mark.slow)])
def test_outputs_do_not_depend_on_the_threads(path: Path) -> None:
    with OnnxRuntimeEngine(path) as plain, SwitchingEngine(path, EngineOptions()) as engine:
        batch = batch_for(plain)
        expected = plain.infer(batch)
        infer_until_allowed(engine, batch)
        used = set()
        while not engine.reviews:
            maps, scores = engine.infer(batch)
            used.add(id(engine.session))
            assert np.array_equal(maps, expected.maps)
            assert np.array_equal(scores, expected.scores)
        assert len(used) == 3


@pytest.mark.usefixtures("two_cores")
def test_without_room_for_the_weights_the_engine_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere(settings: Any, graph: Path) -> None:
        settings.optimized_model_filepath = str(tmp_path / "none" / "graph.onnx")

    monkeypatch.setattr(onnxruntime, "write_optimised", nowhere)
    with OnnxRuntimeEngine(GREEN) as plain, SwitchingEngine(GREEN, EngineOptions()) as engine:
        batch = batch_for(plain)
        assert np.array_equal(engine.infer(batch).maps, plain.infer(batch).maps)
        assert engine._sessions == []


@pytest.mark.usefixtures("two_cores")
def test_nothing_stays_in_the_folder_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")  # no room there
    with SwitchingEngine(GREEN, EngineOptions()) as engine:
        assert len(engine._sessions) == 3
        assert list(tmp_path.iterdir()) == []
        engine.infer(batch_for(engine))


def test_outputs_that_differ_in_a_bit_are_refused() -> None:
    class OneBitOff:
        def run(self, names: list[str], inputs: dict[str, Image]) -> list[Any]:
            maps, scores = plain.session.run(names, inputs)
            maps[0, 0, 0] = np.nextafter(maps[0, 0, 0], np.float32(2))
            return [maps, scores]

    with OnnxRuntimeEngine(GREEN) as plain, pytest.raises(ValueError, match="changes the outputs"):
        thread_variants.check_equal([plain.session, OneBitOff()], batch_for(plain), nullcontext())


@pytest.mark.usefixtures("two_cores")
def test_a_file_that_is_no_engine_is_refused_as_ever(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(IncompatibleError, match="cannot load it"):
        SwitchingEngine(tmp_path / "x.onnx", EngineOptions())


@pytest.mark.parametrize("options", [EngineOptions(threads=1), EngineOptions(threads=2)])
def test_a_line_keeps_a_given_number_of_threads(options: EngineOptions) -> None:
    with LineConfig(cameras=(), engine=GREEN, engine_options=options).open_engine() as engine:
        assert type(engine) is OnnxRuntimeEngine


def test_only_a_line_adapts_its_threads() -> None:
    with open_engine(GREEN) as engine:
        assert type(engine) is OnnxRuntimeEngine
    with LineConfig(cameras=(), engine=GREEN).open_engine() as engine:
        assert type(engine) is SwitchingEngine


def test_a_second_ctrl_c_waits_for_the_runtime_too() -> None:
    """The process would be aborted while a thread is inside ONNX Runtime."""
    joined = []

    class Busy:
        def join(self, timeout: float) -> None:
            joined.append(timeout)
            if len(joined) == 1:
                raise KeyboardInterrupt

    engine = SwitchingEngine(GREEN, EngineOptions())
    engine._checking = Busy()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        engine.close()
    assert len(joined) == 2


def test_the_arena_of_all_engines_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(memory: object, config: object) -> None:
        made.append(memory)
        second()

    made: list[object] = []
    monkeypatch.setattr(thread_variants, "_has_arena", False)
    monkeypatch.setattr("onnxruntime.create_and_register_allocator", make)
    second = Beside(thread_variants._make_arena)
    thread_variants._make_arena()
    second.result()
    assert len(made) == 1


class OneAtATime:
    """A session that runs `seam` within each run, and notes whether two runs overlap."""

    def __init__(self, session: Any, seam: Callable[[], object]) -> None:
        self._session, self._seam = session, seam
        self._running, self.most = 0, 0

    def run(self, *arguments: object) -> object:
        self._running += 1
        self.most = max(self.most, self._running)
        self._seam()
        try:
            return self._session.run(*arguments)
        finally:
            self._running -= 1


@pytest.mark.usefixtures("two_cores")
def test_sessions_are_compared_while_none_infers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs at once would take twice the memory."""
    monkeypatch.setattr(switching, "_FIRST_AFTER_S", float("inf"))
    with SwitchingEngine(GREEN, EngineOptions()) as engine:
        second = Beside(engine._check)
        session = OneAtATime(engine.session, second)
        engine._sessions[0] = engine.session = session
        engine.infer(batch_for(engine))
        second.result()
        assert engine._choice is not None and session.most == 1
