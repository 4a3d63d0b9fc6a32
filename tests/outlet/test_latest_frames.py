"""The latest frame of each camera is kept while somebody looks, and encoded when they ask."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import cv2
import numpy as np

from edge_ad.inspection import Inspection, Region, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.latest_frames import LatestFrames
from tests.conftest import part_image

REGION = Region(20, 8, 12, 12, 144, 0.9, (21, 9))
REJECT = Inspection(Verdict.REJECT, 0.9, 0.5, (REGION,), camera="top", part=7, time_utc="t")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_frame_comes_once_with_the_part_it_shows() -> None:
    latest = LatestFrames(Clock())
    assert latest.records({}) == {}  # somebody looks from now on
    latest.inspected(REJECT, Evidence(part_image(spot=True, hw=(480, 1280))))
    record = latest.records({})["top"]
    assert (record["part"], record["verdict"], record["score"]) == (7, "REJECT", 0.9)
    assert record["size_wh"] == [1280, 480] and record["regions"][0]["x"] == 20
    image = cv2.imdecode(np.frombuffer(base64.b64decode(record["jpeg"]), np.uint8), 1)
    assert image is not None and image.shape == (240, 640, 3)
    assert latest.records({})["top"]["jpeg"] == record["jpeg"]  # for another one who asks
    assert "jpeg" not in latest.records({"top": 7})["top"]


def test_no_frame_is_kept_while_nobody_looks() -> None:
    clock = Clock()
    latest = LatestFrames(clock)
    latest.inspected(REJECT, Evidence(part_image()))
    assert "jpeg" not in latest.records({})["top"]
    clock.now_s = 10.0
    latest.inspected(replace(REJECT, part=8), Evidence(part_image()))
    assert latest.records(None)["top"]["part"] == 8  # the state is there, and nobody looks yet
    latest.inspected(replace(REJECT, part=9), Evidence(part_image()))
    assert "jpeg" not in latest.records({})["top"]


def test_a_part_without_score_or_image_is_a_record_too() -> None:
    latest = LatestFrames()
    latest.records({})
    invalid = Inspection(Verdict.INVALID, float("nan"), 0.5, camera="lid", reason="lost: cable")
    latest.inspected(invalid, Evidence())
    record = latest.records({})["lid"]
    assert "score" not in record and "jpeg" not in record and record["reason"] == "lost: cable"
    json.dumps(record, allow_nan=False)
