from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edge_ad.files import replacing
from edge_ad.images import read_image
from edge_ad.inspection import Inspection, Region, Verdict
from edge_ad.outlet import evidence
from edge_ad.outlet.base import Evidence, Outlets
from edge_ad.outlet.drawing import draw_evidence, draw_text
from edge_ad.outlet.evidence import EvidenceCounts, EvidenceFolder, caption
from edge_ad.preprocess import AnomalyMap
from edge_ad.store.event import EventType, StoreEvent, evidence_name
from tests.timing import LIMIT_S

IMAGE = np.full((64, 64, 3), 90, np.uint8)
REGION = Region(20, 10, 16, 12, 192, 0.9, (28, 16))


def rejected(part: int = 1, verdict: Verdict = Verdict.REJECT) -> Inspection:
    return Inspection(verdict, 0.9, 0.5, (REGION,), frame=3, source="cam", part=part)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "evidence").iterdir())


def evidence_with(value: float = 0.9) -> Evidence:
    values = np.zeros((32, 32), np.float32)
    values[5:11, 10:18] = value
    return Evidence(np.full((64, 64, 3), 90, np.uint8), AnomalyMap(values, (0, 0), (2, 2)))


def test_each_rejected_part_leaves_one_image_and_the_run_a_sheet(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path / "evidence")
    for part, verdict in enumerate([*Verdict, Verdict.REJECT], 1):
        given = Evidence(IMAGE) if verdict is Verdict.INVALID else evidence_with()
        folder.inspected(rejected(part, verdict), given)
    folder.close()
    assert names(tmp_path) == ["part-00000002.jpg", "part-00000004.jpg"]
    assert names(tmp_path) == [Path(evidence_name(part)).name for part in (2, 4)]
    assert read_image(tmp_path / "contact-sheet.jpg").shape[1] == 2 * 480
    assert folder.counts == EvidenceCounts(written=2)


def test_the_map_is_copied_because_the_engine_reuses_it(tmp_path: Path) -> None:
    given = evidence_with()
    assert given.anomaly_map is not None
    folder = EvidenceFolder(tmp_path / "evidence")
    folder.inspected(rejected(), given)
    given.anomaly_map.values[:] = 0
    folder.close()
    right = read_image(tmp_path / "evidence" / "part-00000001.jpg")[44:-24, 320:].astype(int)
    assert np.ptp(right[:, :, 2]) > 60, "the overlay shows the map as it was"


@pytest.mark.parametrize(
    ("limits", "kept", "reason"),
    [
        ({"max_count": 2}, [2, 3], "more than 2 or 256 MiB"),
        ({"max_bytes": 1}, [], "more than 2000 or 0 MiB"),
    ],
)
def test_the_oldest_images_go_first_and_are_counted(
    tmp_path: Path, limits: dict[str, int], kept: list[int], reason: str
) -> None:
    events: list[StoreEvent] = []
    folder = EvidenceFolder(tmp_path / "evidence", record=events.append, **limits)
    for part in (1, 2, 3):
        folder.inspected(rejected(part), evidence_with())
    folder.close()
    assert names(tmp_path) == [f"part-{part:08d}.jpg" for part in kept]
    (event,) = events
    assert (event.type, event.count) == (EventType.RETENTION, 3 - len(kept))
    assert event.reason == f"evidence images: {reason}"


def test_images_of_an_earlier_line_go_by_their_parts_whatever_its_clock_was(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    for part, year in ((7, 2099), (8, 2026), (9, 1970)):
        path = tmp_path / evidence_name(part)
        path.touch()
        os.utime(path, (datetime(year, 1, 2, tzinfo=timezone.utc).timestamp(),) * 2)
    folder = EvidenceFolder(tmp_path / "evidence", max_count=2)
    folder.inspected(rejected(10), evidence_with())
    folder.close()
    assert names(tmp_path) == ["part-00000009.jpg", "part-00000010.jpg"]


def test_what_a_killed_line_was_writing_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = EvidenceFolder(tmp_path / "evidence")
    folder.inspected(rejected(1), evidence_with())
    folder.close()
    left: list[Path] = []
    for path in (tmp_path / evidence_name(1), tmp_path / "contact-sheet.jpg"):
        with pytest.raises(KeyboardInterrupt), replacing(path) as unfinished:
            unfinished.write_bytes(b"half")
            left.append(unfinished)
            monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
            raise KeyboardInterrupt
        monkeypatch.undo()
    assert all(path.exists() for path in left)
    EvidenceFolder(tmp_path / "evidence").close()
    assert not any(path.exists() for path in left) and names(tmp_path) == ["part-00000001.jpg"]


def test_images_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    theirs = tmp_path / "evidence" / "for the supplier.jpg"
    theirs.write_bytes(b"x")
    folder = EvidenceFolder(tmp_path / "evidence", max_count=1)
    for part in (1, 2):
        folder.inspected(rejected(part), evidence_with())
    folder.close()
    assert theirs.exists() and folder.counts.deleted == 1


def test_an_image_that_cannot_be_drawn_is_counted_and_the_next_one_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_at_first(inspection: Inspection) -> tuple[str, str]:
        if inspection.part == 1:
            raise ValueError("no such zone")
        return caption(inspection)

    monkeypatch.setattr(evidence, "caption", fail_at_first)
    outlets = Outlets([EvidenceFolder(tmp_path / "evidence")])
    for part in (1, 2):
        outlets.inspected(rejected(part), evidence_with())
    outlets.close()
    assert names(tmp_path) == ["part-00000002.jpg"]
    assert outlets.faults == {f"{tmp_path / 'evidence'}: ValueError: no such zone": 1}


def test_a_line_scan_of_many_rows_is_drawn() -> None:
    image, values = np.full((14_000, 64, 3), 90, np.uint8), np.zeros((700, 32), np.float32)
    tall = draw_evidence(image, AnomalyMap(values, (0, 0), (2, 20)), [REGION], 0.5, ["a", "b"])
    assert tall.shape == (8192 + 44 + 24, 640, 3)
    assert (tall[44:-24, 37:320] == 32).all() and (tall[44:-24, 37 + 320 :] == 32).all()


def test_without_images_nothing_is_drawn_and_nothing_lost(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path / "evidence", max_count=0)
    folder.inspected(rejected(), evidence_with())
    folder.close()
    assert names(tmp_path) == [] and folder.counts == EvidenceCounts()


def test_a_burst_loses_images_which_are_counted_and_files_wait_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = threading.Event()

    def slow(path: Path, data: bytes) -> None:
        may_write.wait(LIMIT_S)
        path.write_bytes(data)

    monkeypatch.setattr(evidence, "write_bytes", slow)
    events: list[StoreEvent] = []
    folder = EvidenceFolder(tmp_path / "evidence", record=events.append)
    for part in range(1, 31):
        folder.inspected(rejected(part), evidence_with())
    lost = folder.counts.lost
    assert 12 <= lost <= 14, "one is being written, 16 wait"
    may_write.set()
    for part in range(31, 71):
        folder.wait_for_room()
        folder.inspected(rejected(part), evidence_with())
    folder.close()
    assert len(names(tmp_path)) == folder.counts.written == 70 - lost == 70 - folder.counts.lost
    assert [(event.type, event.count) for event in events] == [(EventType.LOST, lost)]


def test_the_caption_names_place_time_and_strength() -> None:
    of_image = replace(rejected(7), file="013.png", score=1.15, time_utc="2026-11-28T06:05+00:00")
    local = datetime.fromisoformat("2026-11-28T06:05+00:00").astimezone()
    assert caption(of_image) == (
        f"cam   part 7   013.png (frame 3)   {local.isoformat(sep=' ', timespec='seconds')}",
        "2.30 x threshold (score 1.15, threshold 0.5)",
    )
    negative = replace(rejected(), score=-1.0, threshold=-2.0)
    assert caption(negative)[1] == "score -1, threshold -2"


def test_a_map_at_the_edge_of_the_frame_is_drawn_on_it() -> None:
    values = np.ones((7, 3), np.float32)
    at_edge = AnomalyMap(values, (61.3, 40.6), (1.0, 23.4 / 7))
    drawn = draw_evidence(np.full((64, 64, 3), 90, np.uint8), at_edge, [REGION], 0.5, ["a"])
    assert drawn.shape == (24 + 320 + 24, 640, 3)


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
    for part in (1, 2, 3):
        outlets.inspected(rejected(part), evidence_with())
    outlets.close()
    assert list(outlets.faults) == [f"{tmp_path / 'evidence'}: No space left on device"]
    assert caplog.text.count("No space left on device") == 1
