"""ONNX metadata read without the onnx package, compared with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad import sample
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.export.plan.build import build_plan
from edge_ad.export.plan.source import read_metadata, read_source
from edge_ad.files import sha256
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import load_onnx
from tests.export.plan.plan_graphs import graph, saved

NAME = Path("part.onnx")
WHOLE = graph().SerializeToString()


def test_a_source_is_its_bytes_and_its_manifest(tmp_path: Path) -> None:
    path = saved(graph(), tmp_path / "part.onnx")
    source = read_source(path)
    assert source.manifest == Manifest(method="small", size_hw=(32, 32))
    assert (source.data, source.sha256) == (path.read_bytes(), sha256(path))


@pytest.mark.parametrize("read", [read_source, load_onnx])
def test_weights_in_place_of_a_graph_are_named(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "part.pt"
    path.write_bytes(b"PK\x03\x04 weights")
    with pytest.raises(IncompatibleError, match=r"These are weights.*edge-ad export .*part\.pt$"):
        read(path)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=30), st.text(max_size=300), max_size=5))
def test_metadata_reads_as_the_package_reads_it(metadata: dict[str, str]) -> None:
    model = graph()
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    assert read_metadata(NAME, model.SerializeToString()) == metadata


@settings(deadline=None)
@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_off_anywhere_is_refused_or_has_no_metadata(length: int) -> None:
    """The manifest comes after the graph, so a file cut off between fields has none."""
    try:
        assert read_metadata(NAME, WHOLE[:length]) == {}
    except IncompatibleError as error:
        assert "not an ONNX file" in str(error)


@settings(deadline=None)
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


def test_weights_stored_in_8_bits_are_multiplied_out(tmp_path: Path) -> None:
    plain = graph()
    (weight,) = (tensor for tensor in plain.graph.initializer if tensor.name == "w")
    levels = np.arange(27, dtype=np.int8).reshape(weight.dims)
    scale = np.full((1, 1, 1, 1), 0.01, np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(levels.astype(np.float32) * scale, "w"))
    stored = onnx.ModelProto()
    stored.CopyFrom(plain)
    stored.graph.initializer.remove(next(t for t in stored.graph.initializer if t.name == "w"))
    for name, values in (("w.int8", levels), ("w.scale", scale)):
        stored.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    nodes = list(stored.graph.node)
    del stored.graph.node[:]
    cast = onnx.helper.make_node("Cast", ["w.int8"], ["w.float"], to=onnx.TensorProto.FLOAT)
    mul = onnx.helper.make_node("Mul", ["w.float", "w.scale"], ["w"])
    stored.graph.node.extend([cast, mul, *nodes])
    source = read_source(saved(stored, tmp_path / "part.onnx"))
    assert source.stored_weights == 1
    assert source.sha256 == sha256(tmp_path / "part.onnx")
    assert onnx.load_model_from_string(source.data) == plain


@pytest.mark.slow
def test_the_shipped_sample_is_compiled_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    plan = tmp_path / "sample.plan"
    built = build_plan(Path(sample.__file__).with_name("engine.onnx"), plan, runtime="tensorrt-rtx")
    assert "weights stored in 8 bits (66)" in built.notes[0]
    assert plan.stat().st_size > 20 << 20
