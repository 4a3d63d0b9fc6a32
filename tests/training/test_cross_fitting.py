"""Thresholds for few parts: each part is scored by a net that was not trained on it."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from edge_ad.calibration.thresholds.anomalies import AnomalyScores
from edge_ad.calibration.thresholds.decide import Request, decide, refuse_other_scores
from edge_ad.calibration.thresholds.guarantee import Guarantee
from edge_ad.calibration.thresholds.normal_input import NormalInput, open_folder
from edge_ad.data_split import CrossFitted
from edge_ad.errors import DataError, GateFailed
from edge_ad.geometry import Geometry
from edge_ad.images import BitDepth, read_image, write_image
from edge_ad.manifest import Manifest
from edge_ad.methods.destseg.network import Branch, DeSTSegConfig
from edge_ad.methods.destseg.training import DeSTSegSettings
from edge_ad.methods.learning.trainer import MethodTraining, Trainer, load_training
from edge_ad.methods.torch_engine import TorchEngine
from edge_ad.methods.weights import load_detector
from edge_ad.parts import How, PartAssignment
from edge_ad.scoring import Scorer
from edge_ad.training import session
from edge_ad.training.cross_fitting import TrainFold, _without, folds_of
from edge_ad.training.loop import Interrupted
from edge_ad.training.part_split import PartSplit
from edge_ad.training.session import train
from edge_ad.training.train_config import TrainConfig
from tests.methods.tiny_settings import tiny_config
from tests.training.runs import run
from tests.training.train_configs import write_parts, write_teacher

FOLDS = 3
ODD = "004.png"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Train a Gaussian with ten parts, one of them unlike the others; return its configuration."""
    folder = tmp_path_factory.mktemp("folds")
    write_teacher(folder / "teacher.pth")
    path = write_parts(folder / "parts") / ODD
    write_image(path, 255 - read_image(path) // 2)
    config = tiny_config("gaussian", folder / "parts", folder / "out.pt", folder / "teacher.pth",
                         steps=None, set_aside__selection=0.0)  # fmt: skip
    config = replace(config, folds=FOLDS, parts_from=How.EACH)
    assert run(config, whole=True)["split"]["folds"] == FOLDS
    return config


def _fitted(weights: Path) -> tuple[Manifest, CrossFitted]:
    manifest = load_detector(weights).manifest
    assert manifest.data_split is not None and manifest.data_split.cross_fitted is not None
    return manifest, manifest.data_split.cross_fitted


def _given(config: TrainConfig, manifest: Manifest) -> NormalInput:
    return open_folder(config.data, manifest.data_split, Geometry(), how=How.EACH)


def test_a_part_is_scored_by_a_net_that_has_not_seen_it(config: TrainConfig) -> None:
    manifest, fitted = _fitted(config.output)
    given = _given(config, manifest)
    assert fitted.folds == FOLDS and given.fitted is not None
    scores = dict(zip(given.fitted.scores.names, given.fitted.scores.image, strict=True))
    assert len(scores) == len(set(fitted.parts)) == 10, "all parts carry the threshold"
    score, _ = Scorer(TorchEngine(config.output))(read_image(config.data / ODD))
    assert max(scores, key=scores.__getitem__) == ODD and scores[ODD] > 1.2 * score
    assert sorted(path.name for path in config.output.parent.glob("out*")) == [
        "out.pt", "out.report.json", "out.report.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_an_interrupted_fold_resumes_to_the_same_scores(config: TrainConfig) -> None:
    _, whole = _fitted(config.output)
    first = replace(config, output=config.output.with_name("broken.pt"))
    for last in (1, 4):  # in the final training, then in a fold
        with pytest.raises(Interrupted):
            stopped_after(last, replace(first, resume=last > 1))
        assert not first.output.exists()
    run(replace(first, resume=True))
    assert _fitted(first.output)[1] == whole
    assert not list(first.output.parent.glob("broken*checkpoint*"))


def stopped_after(steps: int, config: TrainConfig) -> None:
    """Train, and stop after so many steps of all trainings together."""
    stop, done = threading.Event(), itertools.count(1)
    train(config, stop, lambda progress: stop.set() if next(done) == steps else None)


def test_the_threshold_says_that_it_is_an_estimate(config: TrainConfig) -> None:
    manifest, _ = _fitted(config.output)
    given = _given(config, manifest)
    assert given.fitted is not None and "3 nets" in given.notes[0]
    anomalies = AnomalyScores("synthetic", ["x"], [1e9], [1e9])
    request = Request(Guarantee(0.05, 0.95), at_best=True)
    threshold = decide(request, given, given.fitted.scores, anomalies)
    assert threshold.folds == FOLDS and threshold.parts == 10
    assert threshold.image == max(given.fitted.scores.image)
    refuse_other_scores(given, manifest, Geometry())
    int8 = manifest.replace(precision="int8")
    with pytest.raises(GateFailed, match="the engine has int8"):
        refuse_other_scores(given, int8, Geometry())
    with pytest.raises(GateFailed, match="another geometry"):
        refuse_other_scores(given, manifest, Geometry(tiles=(1, 2)))


def test_a_fold_learns_and_chooses_without_its_parts() -> None:
    first, again, other = (Path(name) for name in ("a1.png", "a2.png", "b1.png"))
    assignment = PartAssignment({first: "a", again: "a", other: "b"}, How.PART_ID)
    split = PartSplit(assignment, (first, other), (again,), (), "images", folds=2)
    assert sorted(map(list, folds_of(split))) == [[first], [other]], "as many folds as parts"
    left = _without(split, {first: "a"})
    assert (left.trained, left.selection, left.chosen_by) == ((other,), (other,), "trained")
    left = _without(split, {other: "b"})
    assert (left.trained, left.selection, left.chosen_by) == ((first,), (again,), "images")
    assert left.folds == 0


def test_fewer_parts_than_folds_are_refused_before_any_training(config: TrainConfig) -> None:
    with pytest.raises(DataError, match=r"10 parts cannot be divided into 20 folds: .*--folds 10"):
        run(replace(config, folds=20), stop_after=1)


class OneFold(Exception):
    """Ends a training after its first fold."""


def test_a_fold_takes_the_output_that_the_final_net_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_teacher(tmp_path / "teacher.pth")
    write_parts(tmp_path / "parts")
    config = tiny_config("destseg", tmp_path / "parts", tmp_path / "out.pt",
                         tmp_path / "teacher.pth", network__branch="auto")  # fmt: skip
    asked: list[DeSTSegConfig] = []

    def spied(name: str) -> MethodTraining:
        training = load_training(name)

        def trainer(settings: DeSTSegSettings, *rest: Any) -> Trainer:
            asked.append(settings.network)
            return training.trainer(settings, *rest)

        return replace(training, trainer=trainer)

    def first_fold(split: PartSplit, depth: BitDepth, ids: object, train_fold: TrainFold) -> None:
        train_fold(1, split)
        raise OneFold

    monkeypatch.setattr(session, "load_training", spied)
    monkeypatch.setattr(session, "cross_fit", first_fold)
    with pytest.raises(OneFold):
        run(replace(config, folds=FOLDS, parts_from=How.EACH))
    final, fold = asked
    assert final.branch == "auto" and fold.branch in get_args(Branch) and fold.prior == "none"
