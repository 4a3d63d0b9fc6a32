"""Data and weights for the methods' tests; each method is trained once per session."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
import pytest
import torch

from edge_ad.export.onnx import onnx_from_module
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.weights import load_detector
from edge_ad.training.session import train
from tests.methods.tiny_settings import tiny_config
from tests.torch_setup import NARROW, make_torch_quick, narrow_resnet18

make_torch_quick()


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder of ten images of a round part."""
    folder = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(0)
    for index in range(10):
        image = np.full((40, 48, 3), 90, np.uint8) + rng.integers(0, 30, (40, 48, 1), np.uint8)
        cv2.circle(image, (24, 20), 10, (40, 120, 200), -1)
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


@pytest.fixture(scope="module")
def narrow() -> Iterator[None]:
    """Make ResNet-18 narrow in a file's tests, which then cannot use wide ones."""
    with narrow_resnet18():
        yield


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a random narrow ResNet-18."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "resnet18.pth"
    torch.save(ResNet18(NARROW).state_dict(), path)
    return path


class Trained(NamedTuple):
    """A method's report and weights."""

    report: dict[str, Any]
    weights: Path


class Exported(NamedTuple):
    """A method's weights and engine file, and how often each operator is in its graph."""

    weights: Path
    engine: Path
    operators: Counter[str]


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, parts: Path, backbone: Path
) -> Callable[[str], Trained]:
    """Return a function that trains a method for a few steps, at its first call."""

    @cache
    def train_once(method: str) -> Trained:
        weights = tmp_path_factory.mktemp(method) / "x.pt"
        config = tiny_config(method, parts, weights, backbone)
        with narrow_resnet18():
            return Trained(train(config, threading.Event(), lambda progress: None), weights)

    return train_once


@pytest.fixture(scope="session")
def exported(trained: Callable[[str], Trained]) -> Callable[[str], Exported]:
    """Return a function that exports what `trained` trains; most take seconds, in slow tests."""

    @cache
    def export(method: str) -> Exported:
        weights = trained(method).weights
        with narrow_resnet18():
            detector = load_detector(weights)
        manifest = detector.manifest.replace(batch=None)
        model = onnx_from_module(EngineGraph(detector.module), manifest)
        engine = weights.with_suffix(".onnx")
        onnx.save(model, engine)
        operators = Counter(node.op_type for node in model.graph.node)
        return Exported(weights, engine, operators)

    return export
