"""A frame has the same score on the line, in evaluation and everywhere else."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.dataset import Sample
from edge_ad.engine import Prediction, ScriptedEngine
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.evaluation.predictions import score_all
from edge_ad.frame import Frame, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.images import write_image
from edge_ad.inspection import Verdict
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.scoring import Scorer

CORNER = ((0, 0), (30, 0), (30, 30), (0, 30))
ALL = ((-9, -9), (99, -9), (99, 99), (-9, 99))


def part_image() -> Image:
    """Return a dim image with a bright square at the upper left and a darker one further in."""
    image = np.random.default_rng(0).integers(20, 60, (64, 64, 3)).astype(np.uint8)
    image[8:20, 8:20], image[40:52, 36:48] = 250, 200
    return image


def inspector(engine: ScriptedEngine, geometry: Geometry | None = None) -> Inspector:
    return Inspector(engine, Thresholds(0.5, 0.5), FrameGate(live=False), geometry=geometry)


def frame(image: Image) -> Frame:
    return Frame(image, 0, time.monotonic(), "cam")


def map_with_nan(image: Image) -> NDArray[np.float32]:
    """Return a map with NaN where the image is bright."""
    values = np.asarray(image[:, :, 1] / 255, np.float32)
    values[values > 0.9] = np.nan
    return values


@pytest.mark.parametrize(
    ("geometry", "score"),
    [
        (Geometry(), 250 / 255),
        (Geometry(ignore=(CORNER,)), 200 / 255),
        (Geometry(tiles=(2, 2), overlap=0.1), 250 / 255),
        (Geometry(roi_xywh=(0, 32, 64, 32)), 200 / 255),
    ],
)
def test_line_and_evaluation_score_alike(
    tmp_path_factory: pytest.TempPathFactory, geometry: Geometry, score: float
) -> None:
    engine, path = ScriptedEngine(), tmp_path_factory.mktemp("one") / "a.png"
    write_image(path, part_image())
    scored, values = Scorer(engine, geometry)(part_image())
    assert scored == pytest.approx(score, abs=1e-6)
    inspected = inspector(engine, geometry)(frame(part_image()))
    assert inspected.inspection.score == scored
    assert inspected.evidence.anomaly_map is not None
    assert np.array_equal(inspected.evidence.anomaly_map.values, values)
    sample = Sample(path=path, kind="good")
    (evaluated,) = score_all(engine, [sample], {}, geometry)
    assert evaluated.score == scored and np.array_equal(evaluated.values, values)


def test_nan_in_the_engine_output_is_invalid_on_the_line() -> None:
    inspected = inspector(ScriptedEngine(map_of=map_with_nan))(frame(part_image()))
    assert inspected.inspection.verdict is Verdict.INVALID
    assert "NaN or Inf" in inspected.inspection.reason and inspected.evidence.anomaly_map is None
    dim = np.minimum(part_image(), 100)
    inspected = inspector(ScriptedEngine(map_of=map_with_nan))(frame(dim))
    assert inspected.inspection.verdict is Verdict.PASS


class Apart(ScriptedEngine):
    """Predicts a score that is not its map's maximum."""

    def __init__(self, value: float, score: float) -> None:
        super().__init__(map_of=lambda image: np.full(image.shape[:2], value, np.float32))
        self._score = np.float32(score)

    def infer(self, batch: Image) -> Prediction:
        prediction = super().infer(batch)
        return prediction._replace(scores=np.full(len(batch), self._score, np.float32))


def test_without_ignored_areas_the_score_is_the_one_of_the_graph() -> None:
    assert inspector(Apart(0.9, 0.25))(frame(part_image())).inspection.score == 0.25


@pytest.mark.parametrize(("value", "score"), [(0.1, np.nan), (0.1, np.inf), (np.nan, 0.1)])
def test_a_map_or_a_score_alone_that_is_no_number_is_invalid(value: float, score: float) -> None:
    inspected = inspector(Apart(value, score))(frame(part_image()))
    assert inspected.inspection.verdict is Verdict.INVALID


def test_one_pixel_of_the_map_that_is_no_number_is_invalid() -> None:
    class OneNan(Apart):
        """Predicts a map with NaN in one pixel."""

        def infer(self, batch: Image) -> Prediction:
            prediction = super().infer(batch)
            prediction.maps[0, 3, 3] = np.nan
            return prediction

    assert inspector(OneNan(0.1, 0.1))(frame(part_image())).inspection.verdict is Verdict.INVALID


def test_nan_in_the_engine_output_is_an_error_elsewhere() -> None:
    with pytest.raises(EdgeAdError, match="scripted: the engine output contains NaN or Inf"):
        Scorer(ScriptedEngine(map_of=map_with_nan))(part_image())


def test_ignoring_the_whole_frame_is_an_error() -> None:
    with pytest.raises(UsageError, match="Shrink --ignore"):
        Scorer(ScriptedEngine(), Geometry(ignore=(ALL,)))(part_image())


def test_the_map_is_a_copy() -> None:
    shared = np.zeros((32, 32), np.float32)

    class Reusing(ScriptedEngine):
        """Returns the same array from every call, as compiled engines do."""

        def infer(self, batch: Image) -> Prediction:
            prediction = super().infer(batch)
            shared[:] = prediction.maps[0]
            return prediction._replace(maps=shared[None])

    scorer = Scorer(Reusing())
    first = scorer(part_image())[1]
    kept = first.copy()
    scorer(np.full((64, 64, 3), 90, np.uint8))
    assert np.array_equal(first, kept)
