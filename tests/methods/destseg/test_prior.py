"""DeSTSeg with a prior: fitted in one pass, fused by z-scores, chosen, exported with the net."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from edge_ad.methods.destseg import map_choice
from edge_ad.methods.destseg.map_choice import choose_map
from edge_ad.methods.destseg.network import PRIOR, Branch, DeSTSeg, DeSTSegConfig, Prior
from edge_ad.methods.layers.feature_prior import FeaturePrior, ScoreSpread
from edge_ad.methods.layers.gaussian_distance import GaussianDistance
from edge_ad.methods.layers.patch_memory import PatchMemory
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.weights import load_detector
from edge_ad.training.loop import Interrupted
from tests.methods.network_checks import SIZE, check_parity, shaken
from tests.methods.tiny_settings import tiny_config
from tests.torch_setup import NARROW
from tests.training.runs import run

pytestmark = pytest.mark.usefixtures("narrow")
PRIORS: tuple[Prior, ...] = ("gaussian", "patchcore")
BRANCHES = get_args(Branch)
CHANNELS = sum(NARROW[1:])


def test_maps_are_added_in_deviations_of_normal_scores() -> None:
    prior = FeaturePrior(GaussianDistance(4), (2, 2), (16, 16))
    prior.calibrate(ScoreSpread(0.2, 0.1), ScoreSpread(3.0, 0.5))
    fused = prior.fused(torch.full((1, 2, 2), 0.4), torch.full((1, 2, 2), 2.0))
    assert fused.flatten().tolist() == pytest.approx([2.0 - 2.0] * 4, abs=1e-5)


def test_a_prior_of_unit_cells_ignores_how_strong_cells_respond() -> None:
    levels = [torch.rand(1, 2, 2, 2) + 0.1, torch.rand(1, 2, 1, 1) + 0.1]
    stronger = [3 * levels[0], 0.5 * levels[1]]
    plain = FeaturePrior(GaussianDistance(4), (2, 2), (16, 16))
    unit = FeaturePrior(GaussianDistance(4), (2, 2), (16, 16), "unit")
    torch.testing.assert_close(unit.features(stronger), unit.features(levels), atol=1e-4, rtol=0)
    assert not torch.allclose(plain.features(stronger), plain.features(levels), atol=1e-4)


def test_scores_of_one_image_alone_are_taken_to_vary_by_a_hundredth() -> None:
    """Else a map would be divided by rounding errors, or by nearly nothing."""
    assert ScoreSpread.of(torch.full((63,), 2.0)) == (2.0, 0.02)
    assert ScoreSpread.of(torch.zeros(5)) == (0.0, 1e-12)
    assert ScoreSpread.of(torch.tensor([1.0, 3.0])) == (2.0, 1.0)


def test_a_memory_measures_the_distance_to_the_nearest_row() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 5, 3, 4, generator=generator) + 9
    rows = torch.randn(7, 5, generator=generator) + 9
    memory = PatchMemory(5, 1)
    memory.remember(rows)
    flat = features.permute(0, 2, 3, 1).flatten(0, 2)
    expected = torch.cdist(flat.double(), rows.double()).amin(dim=1).square()
    torch.testing.assert_close(
        memory(features)[:, 0].flatten().double(), expected, rtol=1e-4, atol=1e-4
    )


def test_the_memory_has_as_many_rows_as_a_share_of_the_teachers_operations() -> None:
    asked = DeSTSegConfig(prior="auto")
    rows = asked.for_size((128, 128)).prior_rows
    twice = asked.model_copy(update={"prior_share": 2 * asked.prior_share})
    assert rows is not None and rows > 100
    assert abs((twice.for_size((128, 128)).prior_rows or 0) - 2 * rows) <= 1
    assert DeSTSegConfig(prior="gaussian").for_size((128, 128)).prior_rows is None


def _with_and_without_prior(kind: Prior) -> tuple[DeSTSeg, DeSTSeg]:
    config = DeSTSegConfig(width=0.125, branch="distance", prior=kind, prior_rows=20, top_k=10)
    net = shaken(DeSTSeg(config, SIZE), by=0.01)
    plain = DeSTSeg(config.model_copy(update={"prior": "none"}), SIZE).eval()
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("prior.")}
    plain.load_state_dict(state)
    assert isinstance(net, DeSTSeg)
    return net, plain


@pytest.mark.parametrize("kind", PRIORS)
def test_the_prior_is_fused_with_the_map_of_the_branch(kind: Prior) -> None:
    net, plain = _with_and_without_prior(kind)
    rgb = torch.rand(2, 3, *SIZE)
    assert net.prior is not None
    with torch.no_grad():
        distance = net.prior.distance(net.levels(rgb)[0][PRIOR])
        torch.testing.assert_close(net(rgb)[0], net.prior.fused(plain(rgb)[0], distance))


@pytest.mark.slow
def test_the_exported_prior_reads_the_teacher_that_runs_anyway(tmp_path: Path) -> None:
    net, plain = _with_and_without_prior("patchcore")
    convolutions = check_parity(net, tmp_path, tolerance=1e-4)["Conv"]
    assert convolutions == check_parity(plain, tmp_path)["Conv"] + 1


def test_a_net_with_a_prior_begins_as_one_without() -> None:
    states = []
    for prior in ("none", *PRIORS, "auto"):
        torch.manual_seed(0)
        asked = {"width": 0.125, "branch": "distance", "prior": prior, "top_k": 10}
        config = DeSTSegConfig.model_validate(asked)
        states.append(DeSTSeg(config, SIZE).state_dict())
    for state in states[1:]:
        assert all(torch.equal(state[key], value) for key, value in states[0].items())


@pytest.mark.parametrize("kind", PRIORS)
def test_training_fits_the_prior_in_one_pass(
    kind: Prior, parts: Path, backbone: Path, tmp_path: Path
) -> None:
    given = {"network__prior": kind, "network__prior_rows": 10_000}
    config = tiny_config("destseg", parts, tmp_path / "x.pt", backbone, **given)
    report = run(config)
    passed = math.ceil(report["split"]["trained"]["images"] / 2)
    with_prior = [f"{branch}+{kind}" for branch in BRANCHES]
    assert report["steps"]["prior"] == passed and report["choice"]["prior"] == kind
    assert list(report["choice"]["measured"]) == [*BRANCHES, *with_prior]
    detector = load_detector(tmp_path / "x.pt")
    assert not any("fitting" in name for name in detector.module.state_dict())
    prior = detector.module.prior
    assert isinstance(prior, FeaturePrior) and float(prior.spread.min()) > 0
    if isinstance(prior.nearness, PatchMemory):  # fewer patches than rows: all are remembered
        assert detector.config["prior_rows"] == passed * 2 * 16
    maps, scores = detector.module(torch.rand(2, 3, 32, 32))
    assert np.isfinite(maps.detach().numpy()).all() and bool(scores.isfinite().all())


@pytest.mark.slow
def test_a_training_interrupted_while_it_collects_resumes_to_the_same_weights(
    parts: Path, backbone: Path, tmp_path: Path
) -> None:
    config = tiny_config("destseg", parts, tmp_path / "x.pt", backbone, network__prior="auto")
    whole = run(config)
    other = replace(config, output=tmp_path / "y.pt")
    with pytest.raises(Interrupted):
        run(other, stop_after=whole["steps"]["student"] + whole["steps"]["segmentation"] + 2)
    resumed = run(replace(other, resume=True))
    assert resumed["choice"] == whole["choice"] and len(whole["choice"]["measured"]) == 9
    states = [load_detector(each.output).module.state_dict() for each in (config, other)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def _choice(
    monkeypatch: pytest.MonkeyPatch, figures: dict[str, float], **asked: Any
) -> tuple[DeSTSeg, dict[str, Any]]:
    """Choose with selection scores as given; others are 0."""

    def measured(held_back: Batch, outputs: Any) -> dict[str, Any]:
        return {title: {"selection_score": figures.get(title, 0.0)}
                for title in outputs(held_back.normal)}  # fmt: skip

    monkeypatch.setattr(map_choice, "measure", measured)
    config = DeSTSegConfig(width=0.125, top_k=10)
    net = DeSTSeg(config, SIZE).eval()
    nearness = {"gaussian": GaussianDistance(CHANNELS), "patchcore": PatchMemory(CHANNELS, 5)}
    priors: dict[Prior, FeaturePrior] = {
        name: net.prior_of(nearness[name]) for name in PRIORS if asked["prior"] in ("auto", name)
    }
    normal = torch.rand(2, 3, *SIZE)
    held_back = Batch(normal, normal, torch.zeros(2, 1, *SIZE), torch.arange(2))
    with torch.inference_mode():
        choice = choose_map(net, config.model_copy(update=asked), priors, held_back)
    assert net.config == choice.config
    return net, choice.report


def test_auto_takes_the_prior_and_the_branch_that_separate_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = {"segmentation": 0.8, "distance+gaussian": 0.9, "combined+patchcore": 0.95}
    net, report = _choice(monkeypatch, figures, branch="auto", prior="auto")
    assert (report["branch"], report["prior"]) == ("combined", "patchcore")
    assert net.prior is not None and net.config.prior_rows == 5
    net, report = _choice(monkeypatch, figures, branch="distance", prior="auto")
    assert (report["branch"], report["prior"]) == ("distance", "gaussian")
    assert net.config.prior_rows is None


def test_a_prior_that_separates_worse_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"segmentation": 0.9, "segmentation+gaussian": 0.8, "distance+patchcore": 0.88}
    net, report = _choice(monkeypatch, figures, branch="auto", prior="auto", top_k=10)
    assert net.prior is None and (report["branch"], report["prior"]) == ("segmentation", "none")


def test_of_near_equals_one_with_a_prior_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"segmentation": 0.9, "combined+gaussian": 0.895, "distance+gaussian": 0.893}
    _, report = _choice(monkeypatch, figures, branch="auto", prior="auto", top_k=10)
    assert (report["branch"], report["prior"]) == ("combined", "gaussian")
    figures["distance+patchcore"] = 0.892
    _, report = _choice(monkeypatch, figures, branch="auto", prior="auto", top_k=10)
    assert (report["branch"], report["prior"]) == ("distance", "patchcore")


def test_a_branch_and_a_prior_that_are_named_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"segmentation": 0.9, "distance+gaussian": 0.1}
    net, report = _choice(monkeypatch, figures, branch="distance", prior="gaussian")
    assert net.config.prior == "gaussian" and report["why"] == "named by the user"
    assert report["measured"]["segmentation"] == {"selection_score": 0.9}
