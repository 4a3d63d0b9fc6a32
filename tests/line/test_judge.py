"""What a camera's frames are judged with."""

from __future__ import annotations

from edge_ad.engine import ScriptedEngine
from edge_ad.engine.batcher import Batcher
from edge_ad.geometry import Geometry
from edge_ad.line.inspector import Thresholds
from edge_ad.line.judge import Judge, SharedEngine
from edge_ad.manifest import ImageReference, Sidecar, Threshold

FLAT = tuple(float(number) for number in range(21))


def judged_with(geometry: Geometry, *, colour: bool = True) -> Judge:
    reference = ImageReference(
        size_hw=(48, 64), count=30, brightness=FLAT, sharpness=FLAT, score=FLAT, colour=colour
    )
    stored = Threshold(
        image=0.5, pixel=0.5, false_alarm_rate=0.1, confidence=0.95, images=30,
        reference=reference, geometry=Geometry(roi_xywh=(0, 0, 40, 40)),
    )  # fmt: skip
    sidecar = Sidecar(engine_sha256="0" * 64, threshold=stored)
    engine = SharedEngine(Batcher(ScriptedEngine()), 1)
    return Judge(engine, Thresholds(0.5, 0.5), geometry, None, sidecar)


def test_a_region_is_for_frames_of_the_size_of_training_or_of_the_thresholds_images() -> None:
    region = Geometry(roi_xywh=(0, 0, 40, 40))
    assert judged_with(region).frame_wh == (64, 48)
    assert judged_with(region.replace(frame_wh=(80, 60))).frame_wh == (80, 60)
    assert judged_with(Geometry()).frame_wh is None, "the whole frame scales"
    assert judged_with(Geometry(roi_xywh=(1, 1, 40, 40))).frame_wh is None, "of another threshold"


def test_colour_is_expected_where_the_stored_threshold_holds() -> None:
    region = Geometry(roi_xywh=(0, 0, 40, 40))
    assert judged_with(region).expects_colour
    assert not judged_with(region, colour=False).expects_colour
    assert not judged_with(Geometry()).expects_colour
