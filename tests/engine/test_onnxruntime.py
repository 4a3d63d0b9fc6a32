from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import EngineOptions, ScriptedEngine, open_engine
from edge_ad.errors import IncompatibleError, UsageError

MakeEngine = Callable[..., Path]


def batch_of(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_number_of_images_fits_any_batch(
    make_engine: MakeEngine, batch: int | None, count: int
) -> None:
    images = batch_of(count)
    expected = ScriptedEngine().infer(images)
    with open_engine(make_engine(batch=batch)) as engine:
        observed = engine.infer(images)
    np.testing.assert_allclose(observed.maps, expected.maps, rtol=1e-6)
    np.testing.assert_allclose(observed.scores, expected.scores, rtol=1e-6)


def test_a_batch_of_another_size_is_a_bug_and_says_so(make_engine: MakeEngine) -> None:
    with open_engine(make_engine()) as engine, pytest.raises(ValueError, match=r"\(1, 16, 16, 3\)"):
        engine.infer(np.zeros((1, 16, 16, 3), np.uint8))


def test_a_missing_engine_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="edge-ad export"):
        open_engine(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device is cpu or cuda, got 'gpu'"),
        ({"runtime": "trt"}, "runtime is onnxruntime or openvino, got 'trt'"),
    ],
)
def test_a_device_or_runtime_that_there_is_not_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        EngineOptions(**options)


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "engine.tflite").touch()
    with pytest.raises(UsageError, match=r"\.tflite"):
        open_engine(tmp_path / "engine.tflite")


@pytest.mark.parametrize("content", [b"", b"not a graph", None], ids=["empty", "text", "cut off"])
def test_what_is_not_onnx_is_refused(make_engine: MakeEngine, content: bytes | None) -> None:
    path = make_engine()
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(IncompatibleError, match=r"cannot load it|without edge-ad's manifest"):
        open_engine(path)


def test_a_foreign_onnx_is_refused(make_engine: MakeEngine) -> None:
    onnx = pytest.importorskip("onnx")
    path = make_engine()
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(IncompatibleError, match="without edge-ad's manifest"):
        open_engine(path)


def test_a_graph_that_breaks_the_contract_is_refused_with_both_shapes(
    make_engine: MakeEngine,
) -> None:
    onnx = pytest.importorskip("onnx")
    path = make_engine()
    model = onnx.load(path)
    model.metadata_props[0].value = model.metadata_props[0].value.replace("[32,32]", "[64,64]")
    onnx.save(model, path)
    with pytest.raises(IncompatibleError, match=r"Expected .*\[1, 64, 64, 3\].*got .*\[1, 32, 32"):
        open_engine(path)


def test_a_manifest_of_another_version_is_refused(make_engine: MakeEngine) -> None:
    onnx = pytest.importorskip("onnx")
    path = make_engine()
    model = onnx.load(path)
    model.metadata_props[0].value = '{"schema_version": 99}'
    onnx.save(model, path)
    with pytest.raises(IncompatibleError, match="is not valid in this version"):
        open_engine(path)


def test_an_io_binding_answers_like_a_plain_run(make_engine: MakeEngine) -> None:
    """The GPU's path, on the CPU: the binding is the same, only the provider differs."""
    import onnxruntime as ort

    from edge_ad.engine.onnxruntime import run_bound

    images, path = batch_of(3), make_engine(batch=3)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    observed = run_bound(session, images)
    expected = ScriptedEngine().infer(images)
    np.testing.assert_allclose(observed.maps, expected.maps, rtol=1e-6)
    np.testing.assert_allclose(observed.scores, expected.scores, rtol=1e-6)


def test_a_device_that_is_not_here_is_refused_with_what_to_do(make_engine: MakeEngine) -> None:
    import onnxruntime as ort

    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime can use a GPU")
    with pytest.raises(IncompatibleError, match="onnxruntime-gpu"):
        open_engine(make_engine(), EngineOptions(device="cuda"))
