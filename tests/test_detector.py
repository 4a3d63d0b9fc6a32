"""`Detector`: the result of `edge-ad run`, for one image at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge_ad import Detector
from edge_ad.errors import DataError, IncompatibleError, UsageError
from edge_ad.images import read_image
from edge_ad.inspection import Verdict
from tests.conftest import invoke, part_image

MakePath = Callable[..., Path]
SAMPLE = Path(__file__).resolve().parent.parent / "edge_ad" / "sample"


def test_scores_and_verdicts_equal_those_of_a_run(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, parts = make_engine(), make_folder("parts", 4, bright=(1, 3))
    done = invoke("run", "--camera", parts, "--engine", engine, "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [record for record in records if record["type"] == "inspection"]
    with Detector(engine) as detector:
        for path, record in zip(sorted(parts.iterdir()), expected, strict=True):
            for image in (path, str(path), read_image(path)):
                inspection = detector(image)
                assert inspection.score == record["score"]
                assert inspection.verdict == record["verdict"]
                assert len(inspection.regions) == len(record["regions"])


def test_the_shipped_engine_gives_the_score_of_a_run(tmp_path: Path) -> None:
    """The geometry stored with the engine applies in both."""
    capture = cv2.VideoCapture(str(SAMPLE / "footage.mp4"))
    capture.set(cv2.CAP_PROP_POS_FRAMES, 60)
    image = np.asarray(capture.read()[1], np.uint8)
    cv2.imwrite(str(tmp_path / "frame.png"), image)
    engine = SAMPLE / "engine.onnx"
    done = invoke("run", "--camera", tmp_path / "frame.png", "--engine", engine, "--json")
    record = json.loads(done.stdout.splitlines()[0])
    with Detector(engine) as detector:
        inspection = detector(image)
        assert detector(tmp_path / "frame.png").score == record["score"] == inspection.score
    assert inspection.map is not None and inspection.map.shape == image.shape[:2]
    assert np.isnan(inspection.map[0, 0]) and np.isfinite(inspection.map[100, 150])


def test_the_map_shows_the_defect_in_frame_pixels(make_engine: MakePath) -> None:
    image = part_image(spot=True, hw=(64, 64))
    polygon = ((0, 40), (63, 40), (63, 63), (0, 63))
    with Detector(make_engine(), threshold=0.5, geometry={"ignore": (polygon,)}) as detector:
        inspection = detector(image)
    assert inspection.verdict is Verdict.REJECT and inspection.map is not None
    assert inspection.map.dtype == np.float32 and inspection.map.shape == (64, 64)
    row, column = np.unravel_index(np.nanargmax(inspection.map), inspection.map.shape)
    assert 8 <= row < 20 and 20 <= column < 32
    assert np.isnan(inspection.map[50, 30])


def test_an_inspection_keeps_its_map_when_the_next_image_comes(make_engine: MakePath) -> None:
    with Detector(make_engine(side=32)) as detector:
        first = detector(part_image(spot=True, hw=(32, 32)))
        assert first.map is not None
        kept = first.map.copy()
        detector(part_image(hw=(32, 32)))
    np.testing.assert_array_equal(first.map, kept)


def test_an_image_that_cannot_be_inspected_is_invalid_with_a_reason(make_engine: MakePath) -> None:
    with Detector(make_engine()) as detector:
        inspection = detector(np.zeros((64, 64, 3), np.uint8))
    assert inspection.verdict is Verdict.INVALID and inspection.reason.startswith("black")
    assert inspection.map is None and np.isnan(inspection.score)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_a_threshold_that_nothing_exceeds_is_refused(
    make_engine: MakePath, threshold: float
) -> None:
    with pytest.raises(UsageError, match="a threshold is a finite number; got"):
        Detector(make_engine(), threshold=threshold)


def test_a_verdict_prints_as_its_word() -> None:
    assert f"{Verdict.REJECT}" == str(Verdict.REJECT) == "REJECT"


def test_without_a_threshold_the_error_names_the_command(make_engine: MakePath) -> None:
    engine = make_engine(threshold=None)
    with pytest.raises(UsageError, match=r"edge-ad threshold .* --images"):
        Detector(engine)
    with Detector(engine, threshold=0.25) as detector:
        assert detector(part_image(spot=True)).threshold == 0.25


def test_a_stored_threshold_of_another_geometry_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="geometry"):
        Detector(SAMPLE / "engine.onnx", geometry={"tiles": (2, 2)})


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)],
    ids=["grey", "float", "empty"],
)
def test_another_kind_of_array_is_refused(make_engine: MakePath, image: np.ndarray) -> None:
    with Detector(make_engine()) as detector, pytest.raises(DataError, match="expected a"):
        detector(image)


def test_an_image_that_opencv_could_not_read_is_refused(make_engine: MakePath) -> None:
    with Detector(make_engine()) as detector, pytest.raises(DataError, match="got None"):
        detector(cv2.imread("none.png"))  # type: ignore[arg-type]


def test_a_pillow_image_is_refused_with_what_makes_an_array_of_it(make_engine: MakePath) -> None:
    colours = np.random.default_rng(0).integers(20, 60, (40, 40, 3)).astype(np.uint8)
    image = Image.fromarray(colours[..., ::-1])
    with Detector(make_engine()) as detector:
        with pytest.raises(DataError, match=r"np\.asarray\(image\.convert\('RGB'\)\)") as refused:
            detector(image)  # type: ignore[arg-type]
        assert "got Image." in str(refused.value)
        array = np.asarray(image.convert("RGB"))[..., ::-1]
        assert detector(array).score == detector(colours).score


def test_a_closed_detector_says_so(make_engine: MakePath) -> None:
    with Detector(make_engine()) as detector:
        pass
    with pytest.raises(UsageError, match="this Detector is closed"):
        detector(part_image())
