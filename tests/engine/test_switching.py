"""An engine whose threads follow the load: the same outputs, whatever runs them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import open_engine, switching, thread_variants
from edge_ad.engine.onnxruntime import OnnxRuntimeEngine
from edge_ad.engine.options import EngineOptions
from edge_ad.engine.switching import SwitchingEngine
from edge_ad.frame import Image
from edge_ad.line.config import LineConfig

SAMPLE = Path(switching.__file__).parent.parent / "sample" / "engine.onnx"
GREEN = Path(__file__).parent.parent / "engines" / "green-16-b1.onnx"


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_variants, "physical_cores", lambda: 2)
    monkeypatch.setattr(switching, "physical_cores", lambda: 2)
    monkeypatch.setattr(switching, "_FIRST_AFTER_S", 0.0)


def batch_for(engine: OnnxRuntimeEngine) -> Image:
    size = (1, *engine.manifest.size_hw, 3)
    return np.random.default_rng(1).integers(0, 256, size, np.uint8)


def infer_until_switched(engine: SwitchingEngine, batch: Image) -> None:
    first = engine.session
    until = time.monotonic() + 60
    while engine.session is first:
        assert time.monotonic() < until
        engine.infer(batch)
        time.sleep(0.001)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("path", [GREEN, pytest.param(SAMPLE, marks=pytest.mark.slow)])
def test_outputs_do_not_depend_on_the_threads(path: Path) -> None:
    with OnnxRuntimeEngine(path) as plain, SwitchingEngine(path, EngineOptions()) as engine:
        batch = batch_for(plain)
        expected = plain.infer(batch)
        infer_until_switched(engine, batch)
        for session in thread_variants.open_variants(path, plain.session, batch):
            engine.session = session
            maps, scores = OnnxRuntimeEngine._run(engine, batch)
            assert np.array_equal(maps, expected.maps)
            assert np.array_equal(scores, expected.scores)


@pytest.mark.usefixtures("two_cores")
def test_without_room_for_the_weights_the_engine_stays_as_it_was(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(thread_variants, "_write_optimised", full)
    with caplog.at_level("INFO"), SwitchingEngine(GREEN, EngineOptions()) as engine:
        first, until = engine.session, time.monotonic() + 60
        while "No space left" not in caplog.text:
            assert time.monotonic() < until
            engine.infer(batch_for(engine))
        engine.infer(batch_for(engine))
        assert engine.session is first


def test_outputs_that_differ_in_a_bit_are_refused() -> None:
    class OneBitOff:
        def run(self, names: list[str], inputs: dict[str, Image]) -> list[Any]:
            maps, scores = plain.session.run(names, inputs)
            maps[0, 0, 0] = np.nextafter(maps[0, 0, 0], np.float32(2))
            return [maps, scores]

    with OnnxRuntimeEngine(GREEN) as plain, pytest.raises(ValueError, match="changes the outputs"):
        thread_variants.open_variants(GREEN, OneBitOff(), batch_for(plain))


def test_a_closed_engine_opens_nothing_more() -> None:
    engine = SwitchingEngine(GREEN, EngineOptions())
    engine.close()
    engine._open()
    assert engine.reviews == 0


@pytest.mark.parametrize("options", [EngineOptions(threads=1), EngineOptions(threads=2)])
def test_a_line_keeps_a_given_number_of_threads(options: EngineOptions) -> None:
    with LineConfig(cameras=(), engine=GREEN, engine_options=options).open_engine() as engine:
        assert type(engine) is OnnxRuntimeEngine


def test_only_a_line_adapts_its_threads() -> None:
    with open_engine(GREEN) as engine:
        assert type(engine) is OnnxRuntimeEngine
    with LineConfig(cameras=(), engine=GREEN).open_engine() as engine:
        assert type(engine) is SwitchingEngine
