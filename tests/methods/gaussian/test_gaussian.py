"""Gaussian: its distance is Mahalanobis', its moments those of all patches."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_ad.errors import UsageError
from edge_ad.manifest import Score
from edge_ad.methods.gaussian.network import Gaussian, GaussianConfig
from edge_ad.methods.layers.gaussian_distance import SHRINKAGE, GaussianDistance, Moments
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.weights import load_detector
from tests.methods.network_checks import SIZE, check_contract, check_parity, shaken
from tests.methods.tiny_settings import tiny_config
from tests.training.runs import run

pytestmark = pytest.mark.usefixtures("narrow")


def test_the_distance_is_mahalanobis_of_the_shrunk_covariance() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6)) + 3
    distance, moments = GaussianDistance(6), Moments(6)
    grid = torch.from_numpy(rows.T.reshape(6, 40, 100)).float()
    for part in torch.split(grid[None], 20, dim=2):  # in several batches
        moments.add(part)
    moments.fill(distance)
    covariance = np.cov(rows.T, bias=True)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / 6 * np.eye(6)
    offsets = rows - rows.mean(axis=0)
    squares = np.einsum("nd,de,ne->n", offsets, np.linalg.inv(covariance), offsets)
    with torch.no_grad():
        observed = distance(grid[None]).flatten().numpy()
    np.testing.assert_allclose(observed, np.sqrt(squares / 6), rtol=1e-3)
    assert float(np.square(observed).mean()) == pytest.approx(1, abs=0.05)


def test_a_feature_that_never_varies_gives_finite_distances() -> None:
    distance, moments = GaussianDistance(4), Moments(4)
    features = torch.randn(1, 4, 8, 8)
    features[:, 2] = 0
    moments.add(features)
    moments.fill(distance)
    with torch.no_grad():
        assert bool(distance(torch.ones(1, 4, 8, 8)).isfinite().all())


def test_the_network_keeps_the_contract() -> None:
    check_contract(shaken(Gaussian(GaussianConfig(), SIZE), by=0.01), Score())


@pytest.mark.slow
def test_the_exported_graph_agrees_with_torch(tmp_path: Path) -> None:
    net = shaken(Gaussian(GaussianConfig(), SIZE), by=0.01)
    operators = check_parity(net, tmp_path, tolerance=1e-3)
    assert operators["Conv"] >= 1


def test_one_pass_sets_the_gaussian_and_leaves_no_trace_of_training(
    parts: Path, backbone: Path, tmp_path: Path
) -> None:
    config = tiny_config("gaussian", parts, tmp_path / "x.pt", backbone, steps=None, batch=3)
    report = run(config)
    assert report["steps"] == {"collect": math.ceil(report["split"]["trained"]["images"] / 3)}
    state = load_detector(tmp_path / "x.pt").module.state_dict()
    assert not any("moments" in name for name in state)
    assert bool(state["gaussian.whiten.weight"].isfinite().all())


def test_missing_weights_are_asked_for() -> None:
    training = load_training("gaussian")
    with pytest.raises(UsageError, match=r"Gaussian needs the weights of its backbone resnet18"):
        training.trainer(parse_settings(training, {}), SIZE, None)
