"""ONNX metadata read without the onnx package, compared with the package."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.export.plan.source import read_metadata, read_source
from edge_ad.files import sha256
from edge_ad.manifest import Manifest
from tests.export.plan.plan_graphs import graph, saved

NAME = Path("part.onnx")
WHOLE = graph().SerializeToString()


def test_a_source_is_its_bytes_and_its_manifest(tmp_path: Path) -> None:
    path = saved(graph(), tmp_path / "part.onnx")
    source = read_source(path)
    assert source.manifest == Manifest(method="small", size_hw=(32, 32))
    assert (source.data, source.sha256) == (path.read_bytes(), sha256(path))


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=300), max_size=5))
def test_metadata_reads_as_the_package_reads_it(metadata: dict[str, str]) -> None:
    model = graph()
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    assert read_metadata(NAME, model.SerializeToString()) == metadata


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_off_anywhere_is_refused_or_has_no_metadata(length: int) -> None:
    """The manifest comes after the graph, so a file cut off between fields has none."""
    try:
        assert read_metadata(NAME, WHOLE[:length]) == {}
    except IncompatibleError as error:
        assert "not an ONNX file" in str(error)


@given(st.binary(max_size=200))
def test_no_bytes_end_in_a_traceback(data: bytes) -> None:
    try:
        read_metadata(NAME, data)
    except IncompatibleError as error:
        assert "not an ONNX file" in str(error)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"method: destseg\n", b"\xff" * 20], ids=repr
)
def test_files_that_are_not_onnx_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "part.onnx"
    path.write_bytes(content)
    with pytest.raises(IncompatibleError, match="not an ONNX file"):
        read_source(path)


def test_a_foreign_graph_is_refused_for_its_missing_manifest(tmp_path: Path) -> None:
    model = graph()
    del model.metadata_props[:]
    with pytest.raises(IncompatibleError, match="without edge-ad's manifest"):
        read_source(saved(model, tmp_path / "part.onnx"))


def test_the_error_of_a_missing_file_names_the_export_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"edge-ad export WEIGHTS\.pt"):
        read_source(tmp_path / "part.onnx")
