"""ONNX files that parse but contradict themselves are described or refused, by name."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edge_ad.engine import open_engine
from edge_ad.errors import IncompatibleError
from edge_ad.onnx_graph.index import load_graph
from tests.conftest import MakeEngine, invoke


def _changed(make_engine: MakeEngine) -> tuple[Path, ModelProto]:
    path = make_engine(threshold=None)
    return path, onnx.load(str(path))


def test_weights_that_do_not_fill_their_shape_are_refused(make_engine: MakeEngine) -> None:
    path, model = _changed(make_engine)
    tensor = helper.make_tensor("short", TensorProto.FLOAT, [2, 2], bytes(16), raw=True)
    tensor.raw_data = tensor.raw_data[:12]
    model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(IncompatibleError, match=r"green\.onnx: .*weights 'short': cannot reshape"):
        load_graph(path)
    assert invoke("inspect", path).returncode == 3


def test_a_type_and_inputs_that_do_not_exist_are_described(make_engine: MakeEngine) -> None:
    path, model = _changed(make_engine)
    model.graph.output[0].type.tensor_type.elem_type = -1
    del model.graph.input[:]
    path.write_bytes(model.SerializeToString())
    done = invoke("inspect", path, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["graph"]["outputs"][0]["type"] == "type -1"
    assert facts["contract"]["met"] is False


def test_a_product_of_too_few_inputs_is_described(make_engine: MakeEngine) -> None:
    path, model = _changed(make_engine)
    model.graph.node.append(helper.make_node("MatMul", [model.graph.input[0].name], ["half"]))
    path.write_bytes(model.SerializeToString())
    done = invoke("inspect", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["graph"]["gflops"] is None


def test_a_graph_that_fails_on_its_first_image_does_not_fit(make_engine: MakeEngine) -> None:
    path, model = _changed(make_engine)
    index = helper.make_tensor("far", TensorProto.INT64, [1], [9])
    model.graph.initializer.append(index)
    score = model.graph.output[1].name
    last = next(node for node in model.graph.node if score in node.output)
    last.output[list(last.output).index(score)] = "before"
    model.graph.node.append(helper.make_node("Gather", ["before", "far"], [score], axis=0))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(IncompatibleError, match=r"green\.onnx: ONNX Runtime failed"):
        open_engine(path)


def test_metadata_that_is_not_text_is_refused(make_engine: MakeEngine) -> None:
    path = make_engine(threshold=None)
    path.write_bytes(path.read_bytes().replace(b'"method"', b'"meth\x83d"'))
    with pytest.raises(IncompatibleError, match=r"metadata is not UTF-8"):
        open_engine(path)
