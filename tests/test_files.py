from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_ad.errors import DataError
from edge_ad.files import (
    check_folder,
    readable,
    replace_together,
    replacing,
    sha256,
    sha256_of,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_folders_are_created_and_files_are_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    write_text(path, "new")
    assert path.stat().st_mode & 0o444 == 0o444


def test_a_file_has_the_mode_of_the_umask_which_is_never_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(mask: int) -> int:
        raise AssertionError("the umask is that of all threads")

    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", fail)
            write_text(tmp_path / "a.txt", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_a_renamed_copy_of_a_set_has_the_same_digest(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "2"), ("x/c", "2"), ("x/d", "1")):
        write_text(tmp_path / name, text)
    digest = sha256_of([tmp_path / "a", tmp_path / "b"])
    assert digest == sha256_of([tmp_path / "x" / "c", tmp_path / "x" / "d"])
    assert digest != sha256_of([tmp_path / "a"])
    assert len(sha256(tmp_path / "a")) == 64


def test_files_are_replaced_together(tmp_path: Path) -> None:
    for name in ("new-a", "new-b", "b"):
        (tmp_path / name).write_text(name)
    places = {tmp_path / "new-a": tmp_path / "folder" / "a", tmp_path / "new-b": tmp_path / "b"}
    replace_together(places)
    assert (tmp_path / "folder" / "a").read_text() == "new-a"
    assert (tmp_path / "b").read_text() == "new-b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "folder"]


def test_a_file_that_cannot_be_replaced_puts_the_others_back(tmp_path: Path) -> None:
    for name in ("new-a", "new-b", "new-c", "a"):
        (tmp_path / name).write_text(name)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "inside").touch()
    places = {tmp_path / f"new-{name}": tmp_path / name for name in "abc"}
    with pytest.raises(OSError):
        replace_together(places)
    assert (tmp_path / "a").read_text() == "a"
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "c" / "inside").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a b.png", "a b.png"),
        ("ä語.png", "ä語.png"),
        (os.fsdecode(b"a\xe4.png"), "a\\xe4.png"),
        (os.fsdecode(b"\xc3\xa4\xff"), "ä\\xff"),
        ("half of a pair \ud800", "half of a pair \\ud800"),
    ],
)
def test_a_name_becomes_text_that_every_record_takes(name: str, text: str) -> None:
    assert readable(name) == text
    assert text.encode().decode() == readable(text) == text


def test_a_folder_that_is_none_is_refused_with_what_belongs_there(tmp_path: Path) -> None:
    check_folder(tmp_path, "images")
    with pytest.raises(DataError, match=r"gone: no such folder\. Expected a folder with images"):
        check_folder(tmp_path / "gone", "images")
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: a file, not a folder\. Expected a folder with"):
        check_folder(tmp_path / "a.png", "images")
