from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.images import read_image
from edge_ad.inspection import Region
from edge_ad.outlet import evidence
from edge_ad.outlet.base import Evidence, Outlets
from edge_ad.outlet.evidence import EvidenceFolder
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
    right = read_image(tmp_path / "evidence" / "a.jpg")[28:, 64:].astype(int)
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
