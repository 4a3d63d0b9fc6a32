from __future__ import annotations

import errno
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.images import read_image
from edge_ad.inspection import Region
from edge_ad.outlet import evidence
from edge_ad.outlet.base import Evidence, Outlets
from edge_ad.outlet.drawing import draw_evidence, draw_text
from edge_ad.outlet.evidence import EvidenceFolder, caption
from edge_ad.preprocess import AnomalyMap

REGION = Region(20, 10, 16, 12, 192, 0.9, (28, 16))


def event(
    name: str, step: AlarmStep = AlarmStep.NEW, kind: AlarmKind = AlarmKind.DEFECT
) -> AlarmEvent:
    return AlarmEvent(step, name, kind, "cam", 3, 3, 3, 0.9, 0.5, (REGION,))


def evidence_with(value: float = 0.9) -> Evidence:
    values = np.zeros((32, 32), np.float32)
    values[5:11, 10:18] = value
    return Evidence(np.full((64, 64, 3), 90, np.uint8), AnomalyMap(values, (0, 0), (2, 2)))


def test_each_alarm_leaves_one_image_and_the_run_a_sheet(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path / "evidence")
    folder.alarmed(event("a"), evidence_with())
    folder.alarmed(event("a", AlarmStep.UPDATE), evidence_with())
    folder.alarmed(event("b"), evidence_with())
    folder.alarmed(event("b", AlarmStep.END), Evidence())
    folder.close()
    assert sorted(path.name for path in (tmp_path / "evidence").iterdir()) == ["a.jpg", "b.jpg"]
    assert read_image(tmp_path / "contact-sheet.jpg").shape[1] == 2 * 480


def test_the_map_is_copied_because_the_engine_reuses_it(tmp_path: Path) -> None:
    given = evidence_with()
    assert given.anomaly_map is not None
    folder = EvidenceFolder(tmp_path / "evidence")
    folder.alarmed(event("a"), given)
    given.anomaly_map.values[:] = 0
    folder.close()
    right = read_image(tmp_path / "evidence" / "a.jpg")[44:-24, 320:].astype(int)
    assert np.ptp(right[:, :, 2]) > 60, "the overlay shows the map as it was"


def test_the_oldest_images_go_first(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path / "evidence", max_count=2)
    for name in "abc":
        folder.alarmed(event(name), evidence_with())
    folder.close()
    assert sorted(path.stem for path in (tmp_path / "evidence").iterdir()) == ["b", "c"]


def test_bytes_are_limited_too(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path / "evidence", max_bytes=1)
    folder.alarmed(event("a"), evidence_with())
    folder.close()
    assert list((tmp_path / "evidence").iterdir()) == []


def test_a_camera_fault_leaves_no_image(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path / "evidence")
    folder.alarmed(event("a", kind=AlarmKind.CAMERA_FAULT), Evidence())
    folder.close()
    assert list((tmp_path / "evidence").iterdir()) == []


def test_the_caption_names_place_time_and_strength() -> None:
    when = datetime(2026, 11, 28, 7, 5, tzinfo=timezone(timedelta(hours=1)))
    of_image = replace(event("a"), file="013.png", peak_score=1.15)
    assert caption(of_image, when) == (
        "cam   013.png (frame 3)   2026-11-28 07:05:00+01:00",
        "2.30 x threshold (score 1.15, threshold 0.5)   alarm a",
    )
    negative = replace(event("a"), peak_score=-1.0, threshold=-2.0)
    assert caption(negative, when)[1].startswith("score -1, threshold -2 ")


def test_long_captions_fit_and_the_legend_shows_the_colours() -> None:
    given = evidence_with()
    assert given.image is not None and given.anomaly_map is not None
    drawn = draw_evidence(given.image, given.anomaly_map, [REGION], 0.5, ["x" * 500, "two"])
    assert drawn.shape == (44 + 320 + 24, 640, 3)
    assert (drawn[5:20, -8:] == 32).all(), "the line ends before the edge"
    colours = {tuple(pixel) for pixel in drawn[-12, 16:400].tolist()}
    assert len(colours) > 100


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_text_is_readable_on_any_ground(ground: int) -> None:
    image = draw_text(np.full((30, 120, 3), ground, np.uint8), "0.5 -> 0.7", (6, 18))
    assert image.min() < 60 and image.max() > 200


def test_a_full_disk_is_counted_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evidence, "write_bytes", full)
    outlets = Outlets([EvidenceFolder(tmp_path / "evidence")])
    for name in "abc":
        outlets.alarmed(event(name), evidence_with())
    outlets.close()
    assert list(outlets.faults) == ["EvidenceFolder: No space left on device"]
    assert caplog.text.count("No space left on device") == 1
