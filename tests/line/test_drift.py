"""A line notices that its light has changed, says since when, and remembers over a restart."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.clock import as_utc
from edge_ad.frame import Image
from edge_ad.images import read_image
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.drift import DriftWatch, ExpectedImages
from edge_ad.line.drift_image import DriftImages
from edge_ad.manifest import ImageReference
from edge_ad.outlet.base import Evidence
from edge_ad.sidecar import load_sidecar
from edge_ad.store.drift import read_drift
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.reading import EventFilter, read_events
from edge_ad.store.schema import connect, create
from edge_ad.store.store import Store
from tests.conftest import invoke

BEGAN = datetime(2026, 11, 28, 13, 0, tzinfo=timezone.utc)
RNG = np.random.default_rng(0)


def image_of(brightness: float) -> Image:
    return np.clip(np.rint(RNG.normal(brightness, 6, (96, 128, 3))), 0, 255).astype(np.uint8)


def quantiles(centre: float, spread: float) -> tuple[float, ...]:
    return tuple(np.linspace(centre - spread, centre + spread, 21))


REFERENCE = ImageReference(
    size_hw=(96, 128),
    count=300,
    brightness=quantiles(118, 4),
    sharpness=quantiles(332, 200),
    score=quantiles(0.3, 0.2),
)
SET = ExpectedImages("engine", REFERENCE)


class Feed:
    """Feeds a watch with two frames a minute."""

    def __init__(self, watch: DriftWatch, camera: str = "top") -> None:
        self.watch, self.camera, self.minute = watch, camera, 0

    def minutes(self, count: int, brightness: float, score: float = 0.3) -> None:
        for _ in range(count):
            for second in (5, 35):
                moment = BEGAN + timedelta(minutes=self.minute, seconds=second)
                inspection = Inspection(
                    verdict=Verdict.PASS, score=score, threshold=0.5, regions=(), frame=1,
                    source="x", camera=self.camera, time_utc=as_utc(moment),
                )  # fmt: skip
                self.watch.inspected(inspection, Evidence(image_of(brightness)))
            self.minute += 1


@contextmanager
def watching(folder: Path, expected: ExpectedImages = SET) -> Iterator[Feed]:
    folder.mkdir(exist_ok=True)
    with Store(folder) as store:
        yield Feed(DriftWatch(store, {"top": expected}))


def drifts(folder: Path) -> list[dict[str, Any]]:
    return list(read_events(folder, EventFilter(types=("drift",))))


def asked(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what `edge-ad drift` says, by quantity."""
    done = invoke("drift", folder, "--json")
    assert done.returncode == 0, done.stderr
    return {row["quantity"]: row for row in json.loads(done.stdout)["quantities"]}


def test_a_change_of_light_is_an_event_with_its_beginning_and_two_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(tmp_path / "out") as feed:
        feed.minutes(70, 118)
        feed.minutes(15, 96)
    (event,) = drifts(tmp_path / "out")
    assert (event["step"], event["kind"], event["camera"]) == ("new", "brightness", "top")
    assert "brightness of camera top has changed since " in event["reason"]
    assert event["reason"].endswith("118 -> 96")
    assert caplog.messages == [event["reason"]]
    pair = read_image(tmp_path / "out" / event["evidence"], 8)
    before, now = pair[:, :128].mean(), pair[:, 136:264].mean()
    assert (before, now) == (pytest.approx(118, abs=2), pytest.approx(96, abs=2))
    row = asked(tmp_path / "out")["brightness"]
    assert row["since"] in {"2026-11-28T14:10Z", "2026-11-28T14:09Z"}
    assert (row["reference"], row["now"]) == (118, pytest.approx(96, abs=1))
    assert row["reference_from"] == "threshold"


def test_each_camera_has_its_own_image_from_before(tmp_path: Path) -> None:
    address = "rtsp://10.0.0.5/axis-media/media.amp?videocodec=h264&resolution=1280x720&camera="
    names = ("a.b", "a_b", "a b", f"{address}1", f"{address}2")
    with closing(sqlite3.connect(":memory:")) as unused:
        for level, name in enumerate(names, 1):
            images = DriftImages(tmp_path)
            images.keep_first(unused, name, image_of(40 * level), replace=False)
    means = sorted(read_image(path, 8).mean() for path in (tmp_path / "drift").iterdir())
    assert means == pytest.approx([40, 80, 120, 160, 200], abs=2)


def test_images_of_changes_are_those_of_the_newest_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.line.drift_image._KEPT", 2)
    moments = [f"2026-11-28T06:00:0{second}.000+00:00" for second in (9, 1, 5)]
    monkeypatch.setattr("edge_ad.line.drift_image.now_utc", iter(moments).__next__)
    create(tmp_path / "line.db")
    images = DriftImages(tmp_path)
    with closing(connect(tmp_path / "line.db")) as connection:
        images.keep_first(connection, "top", image_of(40), replace=False)
        (tmp_path / "drift" / "mine.jpg").touch()
        for _ in moments:
            event = StoreEvent(EventType.DRIFT, step="new", kind="brightness", camera="top")
            images.record(connection, event, image_of(90))
    assert sorted(path.name for path in (tmp_path / "drift").iterdir()) == [
        "mine.jpg",
        "top-before.jpg",
        "top-brightness-20261128060001.jpg",
        "top-brightness-20261128060005.jpg",
    ]


def test_light_that_is_back_ends_it(tmp_path: Path) -> None:
    with watching(tmp_path / "out") as feed:
        feed.minutes(10, 118)
        feed.minutes(15, 96)
        feed.minutes(15, 118)
    new, end = drifts(tmp_path / "out")
    assert (new["step"], end["step"]) == ("new", "end")
    assert end["reason"] == "brightness of camera top is as before: 118"
    assert asked(tmp_path / "out")["brightness"]["since"] is None


def test_scores_drift_too(tmp_path: Path) -> None:
    with watching(tmp_path / "out") as feed:
        feed.minutes(10, 118)
        feed.minutes(20, 118, score=0.7)
    assert [event["kind"] for event in drifts(tmp_path / "out")] == ["score"]


def test_a_restart_goes_on_with_the_minutes_before(tmp_path: Path) -> None:
    with watching(tmp_path / "out") as feed:
        feed.minutes(10, 118)
        feed.minutes(5, 96)
    assert drifts(tmp_path / "out") == []
    with watching(tmp_path / "out") as feed:
        feed.minute = 20
        feed.minutes(6, 96)
    (event,) = drifts(tmp_path / "out")
    assert "118 -> 96" in event["reason"]
    with watching(tmp_path / "out") as feed:  # what stands is not reported again
        feed.minute = 40
        feed.minutes(20, 96)
    assert len(drifts(tmp_path / "out")) == 1


def test_a_restart_after_the_first_hour_tests_against_that_hour(tmp_path: Path) -> None:
    with watching(tmp_path / "out", ExpectedImages()) as feed:
        feed.minutes(62, 118)
    with watching(tmp_path / "out", ExpectedImages()) as feed:
        feed.minute = 70
        feed.minutes(2, 118)
        feed.minutes(15, 96)
    (event,) = drifts(tmp_path / "out")
    assert (event["step"], event["reason"][-9:]) == ("new", "118 -> 96")


def test_scores_far_below_the_threshold_may_double(tmp_path: Path) -> None:
    low = ExpectedImages("engine", REFERENCE.replace(score=quantiles(0.01, 0.002)))
    with watching(tmp_path / "out", low) as feed:
        feed.minutes(3, 118, score=0.01)
        feed.minutes(20, 118, score=0.02)  # 2 % of the threshold higher
    assert drifts(tmp_path / "out") == []


def test_another_threshold_begins_again(tmp_path: Path) -> None:
    with watching(tmp_path / "out") as feed:
        feed.minutes(20, 96)
    dark = REFERENCE.replace(brightness=quantiles(96, 4))
    with watching(tmp_path / "out", ExpectedImages("new threshold", dark)) as feed:
        feed.minutes(20, 96)
    assert len(drifts(tmp_path / "out")) == 1
    assert asked(tmp_path / "out")["brightness"]["since"] is None


@pytest.mark.parametrize(
    "expected",
    [ExpectedImages(), ExpectedImages("x", REFERENCE.replace(count=9))],
    ids=["no reference", "too few images"],
)
def test_without_a_reference_the_first_hour_is_one(
    expected: ExpectedImages, tmp_path: Path
) -> None:
    with watching(tmp_path / "out", expected) as feed:
        feed.minutes(31, 118)
    row = asked(tmp_path / "out")["brightness"]
    assert (row["minutes_to_reference"], row["reference"]) == (30, None)
    assert row["now"] == pytest.approx(118, abs=1)
    assert "reference in 30 min" in invoke("drift", tmp_path / "out").stdout
    with watching(tmp_path / "out", expected) as feed:
        feed.minutes(40, 118)
        feed.minutes(40, 96)
    (event,) = drifts(tmp_path / "out")
    assert "118 -> 96" in event["reason"]
    table = invoke("drift", tmp_path / "out").stdout
    assert "first hour" in table and "brightness" in table


def test_sharpness_of_another_size_is_not_compared(tmp_path: Path) -> None:
    other = REFERENCE.replace(size_hw=(480, 640))
    with watching(tmp_path / "out", ExpectedImages("x", other)) as feed:
        feed.minutes(3, 118)
    origins = {row["quantity"]: row["reference_from"] for row in asked(tmp_path / "out").values()}
    assert origins == {"brightness": "threshold", "score": "threshold", "sharpness": "first hour"}


def test_a_folder_that_cannot_be_written_loses_the_images_only(tmp_path: Path) -> None:
    with watching(tmp_path / "out") as feed:
        (tmp_path / "out" / "drift").write_text("a file is in the way")
        feed.minutes(10, 118)
        feed.minutes(15, 96)
    (event,) = drifts(tmp_path / "out")
    assert "evidence" not in event and "118 -> 96" in event["reason"]


def test_a_run_tests_against_the_images_of_its_threshold(
    make_engine: Callable[..., Path], make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 60)
    words = ("threshold", engine, "--images", good, "--false-alarm-rate", "0.1", "--allow-drift")
    done = invoke(*words, "--parts-from", "each")
    assert done.returncode == 0, done.stderr
    sidecar = load_sidecar(engine)
    assert sidecar is not None and sidecar.threshold is not None
    reference = sidecar.threshold.reference
    assert reference is not None and reference.size_hw == (64, 64)
    done = invoke("run", "--camera", f"top={good}", "--engine", engine, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "drift" / "top-before.jpg").exists()
    assert read_drift(tmp_path / "out") == {} or "threshold" in str(read_drift(tmp_path / "out"))


def test_a_folder_without_a_line_is_refused(tmp_path: Path) -> None:
    done = invoke("drift", tmp_path)
    assert done.returncode == 2 and "line.db" in done.stderr
