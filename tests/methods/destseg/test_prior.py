"""DeSTSeg with the Gaussian prior: fitted in one pass, fused by z-scores, exported with the net."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_ad.methods.destseg.network import PRIOR, DeSTSeg, DeSTSegConfig
from edge_ad.methods.layers.gaussian_prior import GaussianPrior, ScoreSpread
from edge_ad.methods.weights import load_detector
from tests.methods.network_checks import SIZE, check_parity, shaken
from tests.methods.tiny_settings import tiny_config
from tests.training.runs import run

pytestmark = pytest.mark.usefixtures("narrow")


def test_maps_are_added_in_deviations_of_normal_scores() -> None:
    prior = GaussianPrior(4, (2, 2), (16, 16))
    prior.calibrate(ScoreSpread(0.2, 0.1), ScoreSpread(3.0, 0.5))
    fused = prior.fused(torch.full((1, 2, 2), 0.4), torch.full((1, 2, 2), 2.0))
    assert fused.flatten().tolist() == pytest.approx([2.0 - 2.0] * 4, abs=1e-5)


def test_a_prior_of_unit_cells_ignores_how_strong_cells_respond() -> None:
    levels = [torch.rand(1, 2, 2, 2) + 0.1, torch.rand(1, 2, 1, 1) + 0.1]
    stronger = [3 * levels[0], 0.5 * levels[1]]
    plain = GaussianPrior(4, (2, 2), (16, 16))
    unit = GaussianPrior(4, (2, 2), (16, 16), "unit")
    torch.testing.assert_close(unit.features(stronger), unit.features(levels), atol=1e-4, rtol=0)
    assert not torch.allclose(plain.features(stronger), plain.features(levels), atol=1e-4)


def test_scores_that_do_not_vary_give_no_infinity() -> None:
    assert ScoreSpread.of(torch.full((5,), 2.0)) == (2.0, 1e-12)


def _with_and_without_prior() -> tuple[DeSTSeg, DeSTSeg]:
    config = DeSTSegConfig(width=0.125, branch="distance", prior="gaussian", top_k=10)
    net = shaken(DeSTSeg(config, SIZE), by=0.01)
    plain = DeSTSeg(config.model_copy(update={"prior": "none"}), SIZE).eval()
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("prior.")}
    plain.load_state_dict(state)
    assert isinstance(net, DeSTSeg)
    return net, plain


def test_the_prior_is_fused_with_the_map_of_the_branch() -> None:
    net, plain = _with_and_without_prior()
    rgb = torch.rand(2, 3, *SIZE)
    assert net.prior is not None
    with torch.no_grad():
        distance = net.prior.distance(net.levels(rgb)[0][PRIOR])
        torch.testing.assert_close(net(rgb)[0], net.prior.fused(plain(rgb)[0], distance))


@pytest.mark.slow
def test_the_exported_prior_reads_the_teacher_that_runs_anyway(tmp_path: Path) -> None:
    net, plain = _with_and_without_prior()
    convolutions = check_parity(net, tmp_path, tolerance=1e-4)["Conv"]
    assert convolutions == check_parity(plain, tmp_path)["Conv"] + 1


def test_a_training_with_the_prior_begins_as_one_without() -> None:
    states = []
    for prior in ("none", "gaussian"):
        torch.manual_seed(0)
        config = DeSTSegConfig(width=0.125, branch="distance", prior=prior, top_k=10)
        states.append(DeSTSeg(config, SIZE).state_dict())
    assert all(torch.equal(states[1][key], value) for key, value in states[0].items())


def test_training_fits_the_prior_in_one_pass(parts: Path, backbone: Path, tmp_path: Path) -> None:
    given = {"network__prior": "gaussian"}
    config = tiny_config("destseg", parts, tmp_path / "x.pt", backbone, **given)
    report = run(config)
    passed = math.ceil(report["split"]["trained"]["images"] / 2)
    assert report["steps"]["gaussian"] == passed and report["choice"]["measured"].keys() == {
        "segmentation",
        "distance",
        "combined",
    }
    detector = load_detector(tmp_path / "x.pt")
    assert not any("moments" in name for name in detector.module.state_dict())
    prior = detector.module.prior
    assert isinstance(prior, GaussianPrior) and float(prior.spread.min()) > 0
    maps, scores = detector.module(torch.rand(2, 3, 32, 32))
    assert np.isfinite(maps.detach().numpy()).all() and bool(scores.isfinite().all())
