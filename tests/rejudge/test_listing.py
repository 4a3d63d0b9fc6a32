"""Lists of images, and what is no list."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
        ("list.csv", b"file\na.png", 2, "expected a column 'path', got: file"),
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


def test_names_that_are_not_utf8_are_rows(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    odd = os.fsdecode(b"t\xfcr.png")
    (archive / odd).write_bytes((archive / "monday" / "0.png").read_bytes())
    assert rejudge(make_engine(), archive, tmp_path / "r.parquet").returncode == 0
    assert "t\\xfcr.png" in {Path(row["path"]).name for row in rows(tmp_path / "r.parquet")}
