"""Cores that other programs kept busy, from the kernel's counters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_ad.machine import other_work
from edge_ad.machine.other_work import OtherWork

TICK = os.sysconf("SC_CLK_TCK")


class Clock:
    """A clock that tests set, and the time that this process worked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.own = 100.0
        monkeypatch.setattr("edge_ad.machine.other_work.time.monotonic", lambda: self.now)
        monkeypatch.setattr(other_work, "_own", lambda: self.own)


def _stat(root: Path, *, user_s: float = 0.0, idle_s: float = 0.0, steal_s: float = 0.0) -> None:
    """Write counters of one core that this process may use and of one that it may not."""
    (core, *_), other = sorted(os.sched_getaffinity(0)), 4095
    user, idle, steal = (round(seconds * TICK) for seconds in (user_s, idle_s, steal_s))
    rows = [f"cpu{core} {user} 0 0 {idle} 7 0 0 {steal} 9 0", f"cpu{other} {9 * user + 99} 0 0 0"]
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text("\n".join(["cpu  1 2 3", *rows, "intr 1 2", ""]))


@pytest.mark.parametrize(("own_s", "cores"), [(0.0, 1.0), (4.0, 0.5), (8.0, 0.0), (8.1, 0.0)])
def test_what_this_process_did_itself_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_s: float, cores: float
) -> None:
    clock = Clock(monkeypatch)
    _stat(tmp_path)
    work = OtherWork(tmp_path)
    _stat(tmp_path, user_s=6.0, idle_s=50.0, steal_s=2.0)
    clock.now, clock.own = clock.now + 8.0, clock.own + own_s
    assert work.cores() == pytest.approx(cores)


def test_the_load_since_the_last_look_forgets_what_was_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    _stat(tmp_path)
    work = OtherWork(tmp_path)
    _stat(tmp_path, user_s=6.0, steal_s=2.0)
    clock.now += 8.0
    assert work.cores_since_last() == pytest.approx(1.0)
    clock.now += 8.0
    assert work.cores_since_last() == 0.0


def test_a_moment_or_a_machine_without_counters_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    nothing = OtherWork(tmp_path)
    _stat(tmp_path)
    short = OtherWork(tmp_path)
    clock.now += 0.1
    assert nothing.cores() is None and short.cores() is None
    clock.now += 0.2
    assert nothing.cores() is None and short.cores() == 0.0


def test_this_machine_has_counters() -> None:
    work = OtherWork()
    assert work._busy() is not None
