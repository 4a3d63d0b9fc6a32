"""The latest frame of each camera is kept while somebody looks, and encoded when they ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from edge_ad.frame import Image
from edge_ad.inspection import Inspection, Region, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.latest_frames import LatestFrames
from tests.beside import Beside
from tests.conftest import part_image

REGION = Region(20, 8, 12, 12, 144, 0.9, (21, 9))
REJECT = Inspection(Verdict.REJECT, 0.9, 0.5, (REGION,), camera="top", part=7, time_utc="t")


class Clock:
    """A clock that advances by `scaling_s` with every frame that is made small."""

    now_s = scaling_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def scale(self, image: Image) -> Image:
        self.now_s += self.scaling_s
        return image


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def latest(clock: Clock) -> Iterator[LatestFrames]:
    latest = LatestFrames(clock)
    yield latest
    latest.close()


@pytest.fixture
def scaler(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.outlet.latest_frames._small", clock.scale)


def shown(latest: LatestFrames, known: int = 0) -> tuple[dict[str, Any], Image | None]:
    """Return what an asker gets of the camera."""
    records, frames = latest.records({"top": known})
    return records["top"], frames.get("top")


def test_a_frame_comes_once_with_the_part_it_shows(latest: LatestFrames) -> None:
    assert latest.records({}) == ({}, {})  # somebody looks from now on
    latest.inspected(REJECT, Evidence(part_image(spot=True, hw=(480, 1280))))
    record, frame = shown(latest)
    assert (record["part"], record["verdict"], record["score"]) == (7, "REJECT", 0.9)
    assert record["size_wh"] == [1280, 480] and record["regions"][0]["x"] == 20
    assert frame is not None and frame.shape == (240, 640, 3)
    assert shown(latest)[1] is frame  # for another one who asks
    assert shown(latest, 7)[1] is None


@pytest.mark.parametrize("hw", [(300, 1000), (1500, 2448), (8, 4096), (480, 640), (3, 5000)])
def test_a_frame_is_made_small_by_area(latest: LatestFrames, hw: tuple[int, int]) -> None:
    frame = cv2.resize(part_image(spot=True), (hw[1], hw[0]))
    latest.records({})
    latest.inspected(REJECT, Evidence(np.asarray(frame, np.uint8)))
    small = shown(latest)[1]
    assert small is not None and (small.shape[1] <= 640 or small.shape[0] == 1)
    whole = cv2.resize(frame, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - whole).mean() < 2


def test_no_frame_is_kept_while_nobody_looks(latest: LatestFrames, clock: Clock) -> None:
    latest.inspected(REJECT, Evidence(part_image()))
    assert shown(latest)[1] is None
    clock.now_s = 10.0
    latest.inspected(replace(REJECT, part=8), Evidence(part_image()))
    records, frames = latest.records(None)
    assert records["top"]["part"] == 8 and not frames  # the state is there before a viewer
    latest.inspected(replace(REJECT, part=9), Evidence(part_image()))
    assert shown(latest)[1] is None


def test_a_part_without_score_or_image_is_a_record_too(latest: LatestFrames) -> None:
    latest.records({})
    invalid = Inspection(Verdict.INVALID, float("nan"), 0.5, camera="top", reason="lost: cable")
    latest.inspected(invalid, Evidence())
    record, frame = shown(latest)
    assert "score" not in record and frame is None and record["reason"] == "lost: cable"
    json.dumps(record, allow_nan=False)


@pytest.mark.usefixtures("scaler")
def test_frames_that_take_too_long_come_less_often(latest: LatestFrames, clock: Clock) -> None:
    names = [f"c{number}" for number in range(4)]
    known, sent = dict[str, int](), dict.fromkeys(names, 0)
    latest.records({})
    clock.scaling_s = 0.02
    began_s = clock.now_s
    for part in range(1, 301):
        for name in names:
            latest.inspected(replace(REJECT, camera=name, part=part), Evidence(part_image()))
        records, frames = latest.records(known)
        for name in frames:
            known[name] = records[name]["part"]
            sent[name] += 1
        clock.now_s += 0.1
    spent_s = sum(sent.values()) * clock.scaling_s
    assert spent_s < 0.02 * (clock.now_s - began_s) + 0.02 + clock.scaling_s
    assert min(sent.values()) > 1 and max(sent.values()) - min(sent.values()) <= 1


@pytest.mark.usefixtures("scaler")
def test_what_is_shown_belongs_together(latest: LatestFrames, clock: Clock) -> None:
    latest.records({})
    latest.inspected(REJECT, Evidence(part_image()))
    clock.scaling_s = 1.0  # encoding takes long: no time is left for the next one
    assert shown(latest)[1] is not None
    latest.inspected(replace(REJECT, part=8, verdict=Verdict.PASS), Evidence(part_image()))
    record, frame = shown(latest)
    assert (record["part"], record["verdict"], frame is not None) == (7, "REJECT", True)
    for _ in range(3):  # but not for long
        clock.now_s += 2.0
        latest.records({})
    record, frame = shown(latest)
    assert (record["part"], record["verdict"], frame is not None) == (8, "PASS", False)


@pytest.mark.usefixtures("scaler")
def test_a_frame_of_the_last_visit_is_not_shown(latest: LatestFrames, clock: Clock) -> None:
    latest.records({})
    latest.inspected(REJECT, Evidence(part_image()))
    clock.scaling_s = 1.0
    assert shown(latest)[1] is not None
    clock.now_s += 4.0
    latest.inspected(replace(REJECT, part=8), Evidence(part_image()))
    assert shown(latest)[0]["part"] == 8


def test_a_frame_that_two_ask_for_is_made_small_once(
    latest: LatestFrames, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scale(image: Image) -> Image:
        second()
        return np.array(image)

    monkeypatch.setattr("edge_ad.outlet.latest_frames._small", scale)
    latest.records({})  # somebody looks
    latest.inspected(REJECT, Evidence(part_image()))
    second = Beside(lambda: shown(latest))
    assert shown(latest)[1] is second.result()[1] is not None
