"""The new method of docs/extending.md trains, exports and scores like the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from edge_ad.engine import open_engine
from edge_ad.export.onnx import onnx_from_module
from edge_ad.methods import registry
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.torch_engine import TorchEngine
from edge_ad.methods.weights import load_detector
from edge_ad.training.session import train
from edge_ad.training.train_config import TrainConfig
from tests.conftest import part_image
from tests.extending.conftest import blocks

PACKAGE = Path(__file__).parent / "repair"
ENTRY = "edge_ad/methods/registry.py", "METHODS"


@pytest.mark.parametrize("name", ["__init__.py", "network.py", "training.py"])
def test_the_page_shows_the_tested_code(name: str) -> None:
    tested = (PACKAGE / name).read_text(encoding="utf-8")
    shown = blocks()[f"edge_ad/methods/repair/{name}", ""]
    assert shown == tested.replace("tests.extending.repair", "edge_ad.methods.repair")


@pytest.fixture
def _method(install: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("", ".network", ".training"):
        install(f"repair{module}", f"edge_ad.methods.repair{module}")
    entry = eval(blocks()[ENTRY].strip().rstrip(","), vars(registry))
    monkeypatch.setitem(registry.METHODS, entry.name, entry)


@pytest.fixture
def weights(_method: None, tmp_path: Path, make_folder: Callable[..., Path]) -> Path:
    """Weights of a training of four steps."""
    settings = parse_settings(load_training("repair"), {"steps": 4, "batch": 2}, "edge")
    config = TrainConfig("repair", make_folder("parts", 10), tmp_path / "x.pt", (32, 32), settings)
    report = train(config, threading.Event(), lambda progress: None)
    assert sum(report["steps"].values()) == 4
    return config.output


@pytest.mark.slow
def test_a_new_method_exports_to_an_engine_that_agrees_with_torch(weights: Path) -> None:
    detector = load_detector(weights)
    engine_file = weights.with_suffix(".onnx")
    onnx.save(onnx_from_module(EngineGraph(detector.module), detector.manifest), engine_file)
    image = np.stack([part_image(hw=(32, 32), spot=True)])
    with open_engine(engine_file) as engine, TorchEngine(weights) as oracle:
        np.testing.assert_allclose(engine.infer(image).maps, oracle.infer(image).maps, atol=1e-5)
        assert engine.infer(image).scores.shape == (1,)
