"""What several rooms' tests need: a tiny engine that is real ONNX, and pictures for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.geometry import Geometry
from edge_ad.manifest import METADATA_KEY, Manifest, Sidecar, Threshold, save_sidecar

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and weights; a test that needs it skips without it."""
    folder = Path(os.environ.get("EDGE_AD_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real pictures at {folder} (set EDGE_AD_SHARED)")
    return folder


MakeEngine = Callable[..., Path]


@pytest.fixture
def make_engine(tmp_path: Path) -> MakeEngine:
    """Makes an ONNX engine whose map is the green channel over 255 and whose score is its maximum.

    A threshold of 0.5 is stored beside it unless `threshold` is None.
    """
    onnx = pytest.importorskip("onnx", reason="makes a real ONNX file")

    def make(
        name: str = "green.onnx",
        *,
        size_hw: tuple[int, int] = (32, 32),
        batch: int | None = 1,
        geometry: Geometry | None = None,
        threshold: float | None = 0.5,
    ) -> Path:
        manifest = Manifest(
            method="green", size_hw=size_hw, batch=batch, geometry=geometry or Geometry()
        )
        path = tmp_path / name
        onnx.save(_green_model(manifest), path)
        if threshold is not None:
            store_threshold(path, threshold)
        return path

    return make


def store_threshold(engine: Path, value: float) -> None:
    """Write a sidecar with `value` as image and pixel threshold."""
    from edge_ad.files import sha256

    threshold = Threshold(
        image=value, pixel=value, false_alarm_rate=0.01, confidence=0.95, images=300
    )
    save_sidecar(engine, Sidecar(engine_sha256=sha256(engine), threshold=threshold))


def _green_model(manifest: Manifest):  # type: ignore[no-untyped-def]  # onnx is imported late
    from onnx import TensorProto, helper, numpy_helper

    batch = "batch" if manifest.batch is None else manifest.batch
    height, width = manifest.size_hw
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["pixels", "green"], ["plane"], axis=3),
        helper.make_node("Div", ["plane", "full"], ["anomaly_map"]),
        helper.make_node("ReduceMax", ["anomaly_map", "axes"], ["anomaly_score"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "green",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, height, width, 3])],
        [
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, [batch, height, width]),
            helper.make_tensor_value_info("anomaly_score", TensorProto.FLOAT, [batch]),
        ],
        [
            numpy_helper.from_array(np.array(1), "green"),
            numpy_helper.from_array(np.array(255, np.float32), "full"),
            numpy_helper.from_array(np.array([1, 2]), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: manifest.model_dump_json()})
    return model


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of grey pictures; `bright` names those with a bright spot (an anomaly)."""

    def make(name: str, count: int, bright: tuple[int, ...] = ()) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for index in range(count):
            cv2.imwrite(str(folder / f"{index:03d}.png"), picture(spot=index in bright, seed=index))
        return folder

    return make


def picture(
    *, spot: bool = False, seed: int = 0, hw: tuple[int, int] = (64, 64)
) -> NDArray[np.uint8]:
    """A dim noisy picture uint8 (h, w, 3); `spot` adds a bright 12 x 12 square at x = 20, y = 8."""
    noise = np.random.default_rng(seed).integers(20, 60, (*hw, 3))
    if spot:
        noise[8:20, 20:32] = 250
    return noise.astype(np.uint8)
