from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.files import replacing, sha256, sha256_of, write_text


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


def test_a_renamed_copy_of_a_set_has_the_same_digest(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "2"), ("x/c", "2"), ("x/d", "1")):
        write_text(tmp_path / name, text)
    digest = sha256_of([tmp_path / "a", tmp_path / "b"])
    assert digest == sha256_of([tmp_path / "x" / "c", tmp_path / "x" / "d"])
    assert digest != sha256_of([tmp_path / "a"])
    assert len(sha256(tmp_path / "a")) == 64
