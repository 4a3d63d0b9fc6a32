"""What was judged in a watched folder, remembered over crashes, full disks and other mounts."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.source.ledger import FileState, Ledger
from edge_ad.source.watch import LEDGER


def test_a_ledger_survives_a_cut_line_and_forgets_what_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with_many = Ledger(path)
    for number in range(10_100):
        with_many.add(FileState(f"{number}.png", 1, number))
    with_many.forget_all_but(())
    assert FileState("7.png", 1, 7) in with_many, "an empty folder may be an unmounted one"
    path.with_name("ledger.new").write_bytes(b'["10.png", 1, 10]\n')  # of a run that was killed
    with_many.forget_all_but({"7.png"})
    with_many.close()
    path.write_bytes(path.read_bytes() + b'["8.png", 1')
    again = Ledger(path)
    again.add(FileState("9.png", 1, 9))
    again.close()
    last = Ledger(path)
    assert FileState("7.png", 1, 7) in last and FileState("9.png", 1, 9) in last
    assert FileState("8.png", 1, 8) not in last and FileState("10.png", 1, 10) not in last
    with pytest.raises(UsageError, match="another run watches with this ledger"):
        Ledger(path)


def test_a_ledger_goes_on_where_its_folder_was_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    ledger = Ledger(folder / LEDGER)
    ledger.add(FileState("1.png", 1, 1))
    shutil.rmtree(folder)
    with pytest.raises(OSError, match=LEDGER):
        ledger.add(FileState("2.png", 1, 2))
    folder.mkdir()
    ledger.add(FileState("3.png", 1, 3))
    ledger.close()
    again = Ledger(folder / LEDGER)
    assert all(FileState(f"{number}.png", 1, number) in again for number in (1, 2, 3))


def test_a_ledger_of_another_run_in_its_place_is_left_alone(tmp_path: Path) -> None:
    ledger, other = Ledger(tmp_path / "a"), Ledger(tmp_path / "b")
    other.path.rename(ledger.path)
    with pytest.raises(BlockingIOError):
        ledger.add(FileState("1.png", 1, 1))
    assert ledger.path.read_bytes() == b""


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of how many bytes fit at each next write, as on a disk that is nearly full."""
    room: list[int] = []

    def write(file: int, data: bytes, real: Callable[[int, bytes], int] = os.write) -> int:
        fits = room.pop(0) if room else len(data)
        if not fits:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[:fits])

    monkeypatch.setattr("edge_ad.source.ledger.os.write", write)
    return room


def test_what_a_full_disk_did_not_take_is_written_later(tmp_path: Path, disk: list[int]) -> None:
    ledger = Ledger(tmp_path / "ledger")
    for number, room in ((1, [4, 0]), (2, [0])):
        disk[:] = room
        with pytest.raises(OSError, match="No space"):
            ledger.add(FileState(f"{number}.png", 1, number))
    ledger.add(FileState("3.png", 1, 3))
    ledger.close()
    again = Ledger(ledger.path)
    assert all(FileState(f"{number}.png", 1, number) in again for number in (1, 2, 3))


def test_a_ledger_is_whole_when_a_full_disk_takes_no_shorter_one(
    tmp_path: Path, disk: list[int]
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    for number in range(10_100):
        ledger.add(FileState(f"{number}.png", 1, number))
    before = ledger.path.read_bytes()
    disk[:] = [5, 0]
    ledger.forget_all_but({"7.png"})
    assert ledger.path.read_bytes() == before and list(tmp_path.iterdir()) == [ledger.path]
    assert FileState("9.png", 1, 9) in ledger
