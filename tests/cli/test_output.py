"""Whose fault an error is while a command has a file to write."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_ad.cli.output import FolderClaim, output_file, writing
from edge_ad.errors import DataError, OutletLost, UsageError
from edge_ad.store.lock import is_locked
from edge_ad.store.store import Store


def _error(code: int, *name: object) -> OSError:
    return OSError(code, "why", *name)


def test_an_error_of_the_file_or_its_folder_is_one_of_the_outlet(tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    beside = (str(out), str(tmp_path / "tmp1"), bytes(tmp_path / "b"), tmp_path / "c", tmp_path)
    for name in [(), *((name,) for name in beside), (7,)]:
        with pytest.raises(OutletLost, match=r"a\.json: cannot be written \(why\)"):
            with output_file(out, ".json"):
                raise _error(errno.ENOSPC, *name)


def test_what_to_do_about_a_failed_write_stands_at_its_end(tmp_path: Path) -> None:
    with pytest.raises(OutletLost, match=r"\(why\)\. Make room\.$"):
        with writing(tmp_path / "a.json", "Make room."):
            raise _error(errno.ENOSPC)


@pytest.mark.parametrize(
    "error",
    [
        _error(errno.ENOENT, "images/1.png"),
        _error(errno.ENOSPC, "/elsewhere/line.db"),
        ConnectionResetError("reset"),
        TimeoutError("timed out"),
    ],
)
def test_another_file_or_a_connection_is_not_blamed_on_the_output(
    tmp_path: Path, error: OSError
) -> None:
    with pytest.raises(OSError) as raised, output_file(tmp_path / "a.json", ".json"):
        raise error
    assert raised.value is error


def test_a_claimed_folder_is_that_of_one_line_from_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "out"
    claim = FolderClaim(folder)
    with pytest.raises(UsageError, match=r"another line \(process \d+\) writes to"):
        FolderClaim(folder)
    with Store(folder, lock=claim.take(overwrite=False)):
        claim.give_up()
        assert is_locked(folder)
    assert not is_locked(folder) and (folder / "line.db").exists()


def test_overwriting_removes_what_a_run_left_and_nothing_else(tmp_path: Path) -> None:
    left = ["line.db", "summary.json", "evidence/part-00000001.jpg", "contact-sheet.jpg"]
    left += ["samples/part-00000001-reject.png", "drift/top-30969bb6-before.jpg"]
    theirs = ["samples/good.png", "drift/notes.jpg", "evidence/plan.jpg", "line.yaml"]
    for name in left + theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    FolderClaim(tmp_path).take(overwrite=True).release()
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert files - {"line.lock"} == set(theirs)


def test_a_start_that_is_refused_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for exists in (False, True):
        if exists:
            folder.mkdir()
        before = list(tmp_path.rglob("*"))
        FolderClaim(folder).give_up()
        assert list(tmp_path.rglob("*")) == before
    (folder / "line.db").write_bytes(b"no database at all, but long enough" * 40)
    claim = FolderClaim(folder)
    with pytest.raises(DataError, match="is not a database"):
        Store(folder, lock=claim.take(overwrite=False))
    claim.give_up()
    assert [path.name for path in folder.iterdir()] == ["line.db"]
