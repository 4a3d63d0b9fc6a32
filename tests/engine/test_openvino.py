"""ONNX files under OpenVINO give what ONNX Runtime gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import EngineOptions, open_engine
from edge_ad.engine import openvino as openvino_engine
from edge_ad.errors import IncompatibleError
from edge_ad.manifest import METADATA_KEY
from tests.conftest import ROOT

pytest.importorskip("openvino")
OPENVINO = EngineOptions(runtime="openvino", threads=1)

MakeEngine = Callable[..., Path]


def images(count: int, hw: tuple[int, int] = (32, 32)) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *hw, 3)).astype(np.uint8)


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("count", [1, 7])
def test_any_number_of_images_fits_any_batch(
    make_engine: MakeEngine, batch: int | None, count: int
) -> None:
    path = make_engine(batch=batch)
    with open_engine(path) as engine:
        expected = engine.infer(images(count))
    with open_engine(path, OPENVINO) as engine:
        observed = engine.infer(images(count))
    np.testing.assert_allclose(observed.maps, expected.maps, rtol=1e-6)
    np.testing.assert_allclose(observed.scores, expected.scores, rtol=1e-6)


def test_a_real_network_gives_float32s_scores() -> None:
    path = ROOT / "edge_ad" / "sample" / "engine.onnx"
    with open_engine(path) as engine:
        batch = images(1, engine.manifest.size_hw)
        expected = engine.infer(batch)
    with open_engine(path, OPENVINO) as engine:
        observed = engine.infer(batch)
    np.testing.assert_allclose(observed.maps, expected.maps, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(observed.scores, expected.scores, rtol=1e-4)


def test_results_stay_when_the_next_call_comes(make_engine: MakeEngine) -> None:
    with open_engine(make_engine(), OPENVINO) as engine:
        first = engine.infer(images(1))
        before = first.maps.copy()
        engine.infer(images(2)[1:])
        np.testing.assert_array_equal(first.maps, before)


@pytest.mark.parametrize("content", [b"", b"not a graph", None], ids=["empty", "text", "cut off"])
def test_what_is_not_onnx_is_refused(make_engine: MakeEngine, content: bytes | None) -> None:
    path = make_engine()
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(IncompatibleError, match=r"cannot load it|without edge-ad's manifest"):
        open_engine(path, OPENVINO)


def test_a_gpu_is_not_openvinos(make_engine: MakeEngine) -> None:
    with pytest.raises(IncompatibleError, match="--runtime onnxruntime"):
        open_engine(make_engine(), EngineOptions(runtime="openvino", device="cuda"))


def test_int8_that_would_be_wrong_is_refused(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    path = make_engine()
    model = onnx.load(path)
    [manifest] = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    manifest.value = json.dumps(json.loads(manifest.value) | {"precision": "int8"})
    onnx.save(model, path)
    monkeypatch.setattr(openvino_engine, "adds_int8_exactly", lambda: False)
    with pytest.raises(IncompatibleError, match="Take --runtime onnxruntime"):
        open_engine(path, OPENVINO)
    monkeypatch.setattr(openvino_engine, "adds_int8_exactly", lambda: True)
    open_engine(path, OPENVINO).close()
