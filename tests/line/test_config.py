"""What applies to each camera of a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.engine import EngineOptions
from edge_ad.errors import UsageError
from edge_ad.line.alarm import AlarmRule
from edge_ad.line.config import CameraConfig, LineConfig
from edge_ad.line.open import outlet_cameras

ENGINE, OTHER = Path("a.onnx"), Path("b.onnx")


def test_a_camera_has_what_the_line_has_unless_it_says_otherwise() -> None:
    top = CameraConfig("0", name="top", threshold=0.4, rule=AlarmRule(1, 1), bit_depth=12)
    config = LineConfig((top, "side=1"), ENGINE, threshold=0.5, geometry={"tiles": (2, 2)})
    first, second = config.resolve()
    assert (first.name, first.threshold, first.rule.k, first.bit_depth) == ("top", 0.4, 1, 12)
    assert (second.name, second.threshold, second.rule.k, second.bit_depth) == (
        "side",
        0.5,
        2,
        None,
    )
    assert first.geometry == second.geometry == {"tiles": (2, 2)}


def test_threshold_and_geometry_of_the_line_are_for_its_engine() -> None:
    other = CameraConfig("0", engine=OTHER, geometry={"roi_xywh": (0, 0, 4, 4)})
    same = CameraConfig("1", engine=Path("./a.onnx"))
    config = LineConfig(
        (other, same), ENGINE, threshold=0.5, pixel_threshold=0.6, geometry={"tiles": (2, 2)}
    )
    first, second = config.resolve()
    assert (first.threshold, first.pixel_threshold) == (None, None)
    assert first.geometry == {"roi_xywh": (0, 0, 4, 4)}
    assert (second.threshold, second.geometry) == (0.5, {"tiles": (2, 2)})


def test_a_camera_without_any_engine_is_refused() -> None:
    config = LineConfig((CameraConfig("0", name="top", engine=ENGINE), "1"))
    with pytest.raises(UsageError, match="camera 1 has no engine"):
        config.resolve()


def test_an_engine_may_be_a_text() -> None:
    top = CameraConfig("0", name="top", engine="a.onnx")
    first, second = LineConfig((top, "1"), "./a.onnx", threshold=0.5).resolve()
    assert (first.engine, second.engine) == (ENGINE, ENGINE)
    assert first.threshold == 0.5  # it is the line's engine


def test_a_text_in_place_of_the_cameras_is_refused() -> None:
    with pytest.raises(UsageError, match=r"got a text: write \('rtsp://10.0.0.5/x',\)"):
        LineConfig("rtsp://10.0.0.5/x", ENGINE).resolve()  # type: ignore[arg-type]


def test_a_line_without_cameras_is_refused() -> None:
    with pytest.raises(UsageError, match="a line needs a camera"):
        LineConfig((), ENGINE).resolve()


def test_names_must_be_names_and_differ() -> None:
    for cameras, message in (
        ((CameraConfig("0", name="a b"),), "camera 'a b': that is not a valid name"),
        (("left/top=pattern://?seed=1",), "camera 'left/top' in 'left/top=pattern://"),
        ((CameraConfig("0", name="a"), "a=1"), "2 cameras are called 'a'"),
    ):
        with pytest.raises(UsageError, match=message):
            LineConfig(cameras, ENGINE).resolve()


def test_engine_options_are_a_cameras_own() -> None:
    config = LineConfig((CameraConfig("0", engine_options=EngineOptions(threads=2)), "1"), ENGINE)
    assert [camera.engine_options.threads for camera in config.resolve()] == [2, 0]


def test_an_outlet_of_several_cameras_is_opened_once() -> None:
    cameras = LineConfig(
        (
            CameraConfig("0", name="a", outlets=("file:x", "file:y")),
            CameraConfig("1", name="b", outlets=("file:x", "file:z")),
        ),
        ENGINE,
    ).resolve()
    assert outlet_cameras(["file:z"], cameras) == {
        "file:z": None,
        "file:x": frozenset({"a", "b"}),
        "file:y": frozenset({"a"}),
    }
