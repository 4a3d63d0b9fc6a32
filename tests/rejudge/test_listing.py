"""Lists of images, and what is no list."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_ad.errors import DataError, UsageError
from edge_ad.rejudge.listing import list_archive
from tests.rejudge.archives import rejudge, rows

MakePath = Callable[..., Path]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
def test_a_list_names_each_image_once(
    make_engine: MakePath, archive: Path, tmp_path: Path, suffix: str
) -> None:
    listed = ["archive/monday/0.png", str(archive / "tuesday" / "5.png"), "archive/./monday/0.png"]
    file = tmp_path / f"list{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"path": listed, "other": [1, 2, 3]}), file)
    else:
        file.write_text("\n".join(["path"] * (suffix == ".csv") + listed))
    done = rejudge(make_engine(), file, tmp_path / "r.parquet", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["repeated"] == 1
    assert [Path(row["path"]).name for row in rows(tmp_path / "r.parquet")] == ["0.png", "5.png"]


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("list.csv", b"file\na.png", 2, "expected one column 'path', got: file"),
        ("list.csv", b"path\n" + b"a" * 200_000, 2, "not a table with commas (field larger"),
        ("list.parquet", b"PAR1 not", 2, "not a readable Parquet file"),
        ("list.txt", b"\xff\xfe\xfa", 2, "not UTF-8"),
        ("list.txt", b"\n\n", 5, "lists no images"),
        ("list.json", b"[]", 2, "expected a folder, or a list"),
        ("part.png", b"", 2, "To judge one image: edge-ad run"),
    ],
)
def test_a_list_that_is_none_is_refused(
    make_engine: MakePath, tmp_path: Path, name: str, content: bytes, code: int, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = rejudge(make_engine(), tmp_path / name, tmp_path / "r.parquet")
    assert done.returncode == code and message in done.stderr
    assert not (tmp_path / "r.parquet.parts").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,path\na,b", "expected one column 'path', got: path, path"),
        (b"", "expected one column 'path', got: none"),
        (b"path,x\na.png,1\na,b.png,2", "row 2 has 3 fields, the header 2"),
        (b"x,path\n1", "row 1 has 1 fields, the header 2"),
        (b"path,x\na.png,1\n,2", "path 2 is empty"),
        (b"path\na\0.png", "path 1 contains a zero byte"),
    ],
)
def test_a_table_whose_paths_are_not_certain_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list_archive(tmp_path / "list.csv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a.png", None], "must hold texts, got None in row 2"),
        ([["a.png"]], r"must hold texts, got \['a.png'\] in row 1"),
        (["a.png", " "], "path 2 is empty"),
        (["a\0.png"], "path 1 contains a zero byte"),
    ],
)
def test_a_column_whose_paths_are_not_certain_is_refused(
    values: list[object], message: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"path": values}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match=message):
        list_archive(tmp_path / "list.parquet")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    columns = [pa.array(["a.png"]), pa.array(["b.png"])]
    table = pa.Table.from_arrays(columns, names=["path", "path"])
    pq.write_table(table, tmp_path / "list.parquet")
    with pytest.raises(DataError, match="expected one column 'path', got: path, path"):
        list_archive(tmp_path / "list.parquet")


def test_a_pipe_is_not_a_list(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(UsageError, match="not a file"):
        list_archive(tmp_path / "list.txt")


def test_names_that_are_not_utf8_are_rows(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    odd = os.fsdecode(b"t\xfcr.png")
    (archive / odd).write_bytes((archive / "monday" / "0.png").read_bytes())
    assert rejudge(make_engine(), archive, tmp_path / "r.parquet").returncode == 0
    assert "t\\xfcr.png" in {Path(row["path"]).name for row in rows(tmp_path / "r.parquet")}


def test_an_entry_that_is_no_file_is_a_row(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    """Reading them would wait for ever, or never end."""
    os.mkfifo(archive / "pipe.png")
    listed = ["archive/monday/0.png", "archive/pipe.png", "/dev/zero", "archive", "a" * 300]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    done = rejudge(make_engine(), tmp_path / "list.txt", tmp_path / "r.parquet")
    assert done.returncode == 0, done.stderr
    first, *others = rows(tmp_path / "r.parquet")
    assert first["verdict"] == "PASS"
    assert [row["verdict"] for row in others] == ["INVALID"] * 4
    assert [row["reason"].partition(": ")[2][:10] for row in others] == [
        "not a file", "not a file", "cannot be ", "cannot be "]  # fmt: skip


def test_a_name_may_hold_what_unicode_calls_a_line_break(tmp_path: Path) -> None:
    names = [str(tmp_path / f"a{mark}b.png") for mark in "\x0b\x1c\x85\u2028"]
    (tmp_path / "list.txt").write_text("\r\n".join(names), newline="")
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(names))
    assert list_archive(tmp_path / "list.txt").paths == tuple(names)
    assert list_archive(tmp_path / "list.csv").paths == tuple(names)


def test_folders_behind_links_are_listed_once(tmp_path: Path) -> None:
    (tmp_path / "disk" / "may" / "1").mkdir(parents=True)
    (tmp_path / "disk" / "may" / "1" / "a.png").write_bytes(b"")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "new").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "may" / "back").symlink_to(tmp_path / "archive")
    (tmp_path / "disk" / "itself").symlink_to("itself")
    listing = list_archive(tmp_path / "archive")
    assert listing.paths == (str(tmp_path / "archive" / "new" / "may" / "1" / "a.png"),)


def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images would be missing from the result without a word."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    iterdir = Path.iterdir

    def refusing(path: Path) -> Iterator[Path]:  # root may read everything
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iter(list(iterdir(path)))

    monkeypatch.setattr(Path, "iterdir", refusing)
    with pytest.raises(DataError, match=r"closed: the folder cannot be read \(Permission denied\)"):
        list_archive(tmp_path)
