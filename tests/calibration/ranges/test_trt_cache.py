"""TensorRT's calibration cache: reading and writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.calibration.ranges.table import load_table, save_table
from edge_ad.calibration.ranges.target import Range
from edge_ad.calibration.ranges.trt_cache import header, load_cache, save_cache, table_from_cache
from edge_ad.errors import DataError, UsageError
from edge_ad.onnx_graph.index import load_graph
from tests.calibration.int8_models import Tiny


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("10.3.0", "TRT-100300-EntropyCalibration2"),
        ("10.16.1", "TRT-101601-EntropyCalibration2"),
        ("8.5.2", "TRT-8502-EntropyCalibration2"),
    ],
)
def test_the_first_line_names_the_version_as_tensorrt_does(version: str, first: str) -> None:
    assert header(version) == first


def test_scales_are_big_endian_floats_of_amax_over_127(tmp_path: Path) -> None:
    save_cache({"a b": Range(-127.0, 3.0), "c": Range(0.0, 254.0)}, tmp_path / "c", "8.5.2")
    lines = (tmp_path / "c").read_text().splitlines()
    assert lines == ["TRT-8502-EntropyCalibration2", "a b: 3f800000", "c: 40000000"]
    assert load_cache(tmp_path / "c") == {"a b": 127.0, "c": 254.0}


def test_a_cache_becomes_a_table_of_the_tensors_the_graph_has(tmp_path: Path) -> None:
    graph = load_graph(Tiny().save(tmp_path / "tiny.onnx"))
    known = {"pooled": Range(0.0, 2.0), "(Unnamed Layer* 4)_output": Range(0.0, 1.0)}
    save_cache(known, tmp_path / "c", "10.3.0")
    table = table_from_cache(tmp_path / "c", graph)
    assert set(table.tensors) == {"pooled"}
    assert table.ranges("mse")["pooled"].high == pytest.approx(2.0)
    save_table(table, tmp_path / "t.yaml")
    assert load_table(tmp_path / "t.yaml") == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a TensorRT calibration cache"),
        ("pooled: 3f800000\n", "first line like"),
        ("TRT-100300-EntropyCalibration2\npooled=1.0\n", "8 hex digits"),
        ("TRT-100300-EntropyCalibration2\npooled: 00000000\n", "'pooled' has the scale 0.0"),
        ("TRT-100300-EntropyCalibration2\npooled: 7fc00000\n", "'pooled' has the scale nan"),
        ("TRT-100300-EntropyCalibration2\npooled: 7f800000\n", "'pooled' has the scale inf"),
        ("TRT-100300-EntropyCalibration2\nother: 3f800000\n", "names no tensor of tiny.onnx"),
    ],
)
def test_a_file_that_is_no_cache_of_this_model_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "c").write_text(text)
    graph = load_graph(Tiny().save(tmp_path / "tiny.onnx"))
    with pytest.raises(DataError, match=message):
        table_from_cache(tmp_path / "c", graph)


def test_a_missing_cache_or_invalid_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no calibration cache"):
        load_cache(tmp_path / "none")
    with pytest.raises(UsageError, match=r"like 10\.3\.0"):
        header("10.3")
