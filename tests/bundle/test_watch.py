"""The first minutes of a version: what keeps it, what takes it back, and the event of it."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge_ad.bundle.health import read_status
from edge_ad.bundle.install import note_restart, roll_back
from edge_ad.bundle.manifest import WatchLimits
from edge_ad.bundle.state import BundleFolder, Watch
from edge_ad.bundle.supervise import watch_version
from edge_ad.bundle.watch import LineFigures, decide, lower_bound, read_figures
from edge_ad.cli.bundle_status import _status_rows
from edge_ad.clock import as_utc
from edge_ad.errors import EdgeAdError, GateFailed, OutletLost, UsageError
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.outbox import Subscription, read_outbox, subscribe
from edge_ad.store.store import Store
from tests.bundle.conftest import Workshop, reasons, two_versions

LIMITS = WatchLimits(minutes=10, parts=50)
BEFORE = LineFigures(passed=9_900, rejected=100, invalid=10, faults=24, starts=1, minutes=1440)
LATER_S = 601.0


def outcome(
    since: LineFigures, elapsed_s: float = LATER_S, restarted_s: float | None = None
) -> str:
    return decide(BEFORE, since, LIMITS, elapsed_s, restarted_s).outcome


@pytest.mark.parametrize(
    ("since", "elapsed_s", "expected"),
    [
        (LineFigures(passed=1000, rejected=10, starts=1, minutes=9), LATER_S, "accept"),
        (LineFigures(passed=1000, rejected=10, starts=1, minutes=9), 599.0, "wait"),
        (LineFigures(passed=49, starts=1, minutes=9), LATER_S, "wait"),
        (LineFigures(passed=500, rejected=500, starts=1, minutes=1), 60.0, "roll back"),
        (LineFigures(passed=940, rejected=60, starts=1, minutes=9), LATER_S, "accept"),  # by chance
        (LineFigures(rejected=49, starts=1, minutes=1), LATER_S, "wait"),
        (LineFigures(passed=900, invalid=100, starts=1, minutes=9), 60.0, "roll back"),
        (LineFigures(invalid=50, starts=1, minutes=1), 60.0, "roll back"),
        (LineFigures(passed=900, faults=3, starts=1, minutes=9), LATER_S, "accept"),
        (LineFigures(passed=900, faults=4, starts=1, minutes=9), 60.0, "roll back"),
        (LineFigures(starts=4), 60.0, "wait"),
        (LineFigures(starts=5), 60.0, "roll back"),
        (LineFigures(), LATER_S, "wait"),
    ],
)
def test_decisions(since: LineFigures, elapsed_s: float, expected: str) -> None:
    assert outcome(since, elapsed_s) == expected


@pytest.mark.parametrize(("restarted_s", "expected"), [(119.0, "wait"), (121.0, "roll back")])
def test_a_line_that_does_not_start_when_asked_to(restarted_s: float, expected: str) -> None:
    assert outcome(LineFigures(), 130.0, restarted_s) == expected


def test_a_line_that_rejected_as_much_before_is_kept() -> None:
    before = LineFigures(passed=800, rejected=200, minutes=60)
    since = LineFigures(passed=800, rejected=200, starts=1, minutes=10)
    assert decide(before, since, LIMITS, LATER_S, None).outcome == "accept"


@pytest.mark.parametrize("count", [1, 10, 99, 100])
def test_the_lower_bound_solves_wilson_s_equation(count: int) -> None:
    low = lower_bound(count, 100)
    assert low < count / 100
    assert (count / 100 - low) ** 2 == pytest.approx(1.645**2 * low * (1 - low) / 100)
    assert lower_bound(0, 0) == lower_bound(0, 10) == 0


SWITCHED = Watch(folder="2-", since_utc="2026-11-28T10:00:30.000+00:00")
MINUTES = {"2026-11-27T10:00Z": 1, "2026-11-27T10:01Z": 2, "2026-11-28T09:59Z": 4,
           "2026-11-28T10:00Z": 8, "2026-11-28T10:01Z": 16, "2026-11-28T23:00Z": 32}  # fmt: skip
EVENTS = [
    ("2026-11-27T09:00:00.000+00:00", StoreEvent(EventType.LINE, step="start")),
    ("2026-11-28T10:00:29.999+00:00", StoreEvent(EventType.LINE, step="start")),
    ("2026-11-28T10:00:30.000+00:00", StoreEvent(EventType.LINE, step="stop")),
    ("2026-11-28T10:00:30.000+00:00", StoreEvent(EventType.LINE, step="start")),
    ("2026-11-28T10:02:00.000+00:00", StoreEvent(EventType.LINE, step="start")),
    *(
        (time_utc, StoreEvent(EventType.ALARM, kind=kind, step=step, alarm="1"))
        for time_utc in ("2026-11-28T10:00:00.000+00:00", "2026-11-28T10:01:00.000+00:00")
        for kind, step in (("camera_fault", "new"), ("camera_fault", "end"), ("rate", "new"))
    ),
]


def test_the_day_before_a_switch_and_the_time_since_are_told_apart(tmp_path: Path) -> None:
    """Of the minute of the switch no one knows which version judged what."""
    assert read_figures(tmp_path, SWITCHED) == (LineFigures(), LineFigures())
    with Store(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "line.db")) as connection:
        connection.execute("DELETE FROM events")
        for minute, count in MINUTES.items():
            for camera in ("left", "top"):
                row = (minute, camera, 100 * count, 10 * count, count)
                connection.execute(
                    "INSERT INTO statistics (minute, camera, passed, rejected, invalid, dropped, "
                    "scores) VALUES (?, ?, ?, ?, ?, 0, '{}')", row,
                )  # fmt: skip
        for time_utc, event in EVENTS:
            insert(connection, replace(event, time_utc=time_utc))
        connection.commit()
    before, since = read_figures(tmp_path, SWITCHED)
    assert before == LineFigures(1200, 120, 12, faults=1, starts=1, minutes=2)
    assert since == LineFigures(9600, 960, 96, faults=1, starts=2, minutes=2)


def fill(output: Path, *, rejected: int, starts: int = 1) -> None:
    """Write what a line has done since the switch into its store: 100 parts in a later minute."""
    output.mkdir(exist_ok=True)
    for _ in range(starts):
        with Store(output):
            pass
    minute = as_utc(datetime.now(timezone.utc) + timedelta(minutes=2))[:16] + "Z"
    with closing(sqlite3.connect(output / "line.db")) as connection:
        connection.execute(
            "INSERT INTO statistics (minute, camera, passed, rejected, invalid, dropped, scores) "
            "VALUES (?, 'top', ?, ?, 0, 0, '{}')",
            (minute, 100 - rejected, rejected),
        )
        connection.commit()


def watch(workshop: Workshop, calls: list[str]) -> dict[str, str]:
    stop = threading.Event()
    return watch_version(
        workshop.device, stop, "test", restart=lambda: calls.append("restart"), poll_s=0.01
    )


def test_a_version_that_rejects_too_much_is_taken_back(workshop: Workshop) -> None:
    output, calls = two_versions(workshop), list[str]()
    fill(output, rejected=30)
    with pytest.raises(GateFailed, match="version 2 was taken back: 30 of 100 parts rejected"):
        watch(workshop, calls)
    assert workshop.running()[0].startswith("1-") and calls == ["restart"]
    ((step, reason),) = reasons(output)
    assert step == "rollback" and "plates version 2 is taken back: 30 of 100" in reason
    state = BundleFolder(workshop.device).load()
    assert state is not None and state.watch is not None
    assert state.watch.outcome == "rolled back" and "30 of 100" in state.history[-1].removed_for
    again = watch(workshop, calls)
    assert (again["version"], again["outcome"]) == ("plates version 2", "rolled back")
    assert calls == ["restart"]


@pytest.mark.parametrize("rejected", [1, 30])
def test_a_decision_waits_for_the_end_of_another_install(workshop: Workshop, rejected: int) -> None:
    output, seen, other = two_versions(workshop), list[str](), ExitStack()
    fill(output, rejected=rejected)
    other.enter_context(BundleFolder(workshop.device).locked())

    def progress(text: str) -> None:
        seen.append(text)
        other.close()

    with suppress(GateFailed):
        watch_version(workshop.device, threading.Event(), "test", progress=progress, poll_s=0.01)
    assert seen == ["decided, and waiting for the end of another install"]
    assert [step for step, _ in reasons(output)] == ["accept" if rejected == 1 else "rollback"]


def test_the_event_waits_for_outlets_that_ask_for_it(workshop: Workshop) -> None:
    output = two_versions(workshop)
    output.mkdir()
    with Store(output) as store:
        store.put(subscribe_to_bundles, 0)
    fill(output, rejected=30)
    with pytest.raises(GateFailed):
        watch(workshop, [])
    assert [(one["outlet"], one["waiting"]) for one in read_outbox(output)] == [("plant", 1)]


def subscribe_to_bundles(connection: sqlite3.Connection) -> None:
    subscribe(connection, [Subscription("plant", ("bundle",))])


def test_a_version_that_behaves_is_accepted_once(workshop: Workshop) -> None:
    output = two_versions(workshop)
    fill(output, rejected=1)
    first = watch(workshop, [])
    assert first["outcome"] == "accepted" and first["version"] == "plates version 2"
    assert watch(workshop, [])["reason"] == first["reason"]
    assert [step for step, _ in reasons(output)] == ["accept"]
    assert workshop.running()[0].startswith("2-")
    assert shown_watch(workshop).startswith("accepted: 100 parts")
    roll_back(workshop.device, "rejects good parts", "maria")
    assert shown_watch(workshop).startswith("plates version 2 accepted: 100 parts")
    assert watch(workshop, []) == first, "of the version that was watched"


def shown_watch(workshop: Workshop) -> str:
    return dict(_status_rows(read_status(workshop.device, None)))["watch"]


def test_a_line_that_keeps_starting_is_taken_back(workshop: Workshop) -> None:
    fill(two_versions(workshop), rejected=0, starts=5)
    with pytest.raises(GateFailed, match="the line has started 5 times"):
        watch(workshop, [])


def test_a_line_that_never_starts_is_taken_back_after_a_restart(workshop: Workshop) -> None:
    limits = WatchLimits(start_s=1e-9)
    workshop.install(workshop.bundle(1))
    workshop.install(workshop.bundle(2, watch=limits))
    note_restart(workshop.device)
    with pytest.raises(GateFailed, match="has not started within"):
        watch(workshop, [])


def test_the_first_version_is_kept_with_the_reason(workshop: Workshop) -> None:
    workshop.install(workshop.bundle(1))
    fill(workshop.device / "output", rejected=90)
    with pytest.raises(GateFailed, match="there is no version before it"):
        watch(workshop, [])
    assert workshop.running()[0].startswith("1-")
    assert reasons(workshop.device / "output")[0][0] == "accept"


def test_a_version_stays_when_the_one_before_is_damaged(workshop: Workshop) -> None:
    output, calls = two_versions(workshop), list[str]()
    fill(output, rejected=30)
    (previous,) = workshop.device.glob("versions/1-*")
    (previous / "green.onnx").write_bytes(b"gone")
    with pytest.raises(GateFailed, match="It is kept: the version before it is damaged"):
        watch(workshop, calls)
    assert workshop.running()[0].startswith("2-") and calls == []
    ((step, reason),) = reasons(output)
    assert step == "accept" and "plates version 2 is kept, but 30 of 100" in reason


def test_a_restart_that_fails_is_in_the_message(workshop: Workshop) -> None:
    fill(two_versions(workshop), rejected=30)

    def restart() -> None:
        raise EdgeAdError("no such unit")

    with pytest.raises(GateFailed, match=r"is back at plates version 1\. But no such unit"):
        watch_version(workshop.device, threading.Event(), "test", restart=restart)


def test_who_could_not_take_it_back_does_not_watch(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.have_installed()
    opened = os.open

    def refusing(path: str | Path, flags: int, mode: int = 0o777) -> int:  # root may write all
        if Path(path).name == "install.lock":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(OutletLost, match=r"cannot be written \(Permission denied\)"):
        watch(workshop, [])


def test_nothing_to_watch_is_an_error(workshop: Workshop) -> None:
    with pytest.raises(UsageError, match="nothing is installed there"):
        watch(workshop, [])


def test_events_of_bundles_are_known_to_the_store(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.record(StoreEvent(EventType.BUNDLE, step="install", reason="plates version 1"))
    assert reasons(tmp_path) == [("install", "plates version 1")]
