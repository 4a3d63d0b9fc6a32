"""Mutated ONNX files, foreign and with edge-ad's manifest, and compiled plans."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_ad.calibration.quantize.placement import place, to_quantize
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.ranges.target import Target
from edge_ad.engine import open_engine
from edge_ad.errors import EdgeAdError
from edge_ad.files import sha256
from edge_ad.manifest import Manifest, Sidecar
from edge_ad.onnx_graph.index import load_graph
from edge_ad.plan_record import BuildRecord
from edge_ad.sidecar import save_sidecar, sidecar_path
from edge_ad.strict_yaml import dump_yaml
from fuzzing.mutations import VALUES, Rng, mutate, mutate_value, pick
from fuzzing.verbs import verb

ENGINE = Path(__file__).resolve().parents[2] / "tests" / "engines" / "green-16-b1.onnx"
_T = TypeVar("_T")
Message: Any = onnx.ModelProto.__mro__[-2]  # protobuf's class of all messages; it has no stubs
_SIDE = 16


def with_name(path: Path, call: Callable[[], _T]) -> _T:
    """Return the result of a call whose refusal must name the file."""
    try:
        return call()
    except EdgeAdError as error:
        assert path.name in str(error), f"the file is not named: {error}"
        raise


def foreign_graphs(rng: Rng, folder: Path) -> bool:
    """Import a mutated foreign graph; a refused one leaves nothing, an accepted one runs."""
    path, out = folder / "foreign.onnx", folder / "out" / "part.onnx"
    out.parent.mkdir()
    path.write_bytes(_mutated_model(_foreign(), rng))
    done = verb("import", path, "--adapter", "anomalib", "-o", out, "--json")
    if done.code:
        assert not list(out.parent.iterdir()), "a refused import leaves files"
        assert path.name in done.err, f"the file is not named: {done.err}"
        return False
    return _judges(out)


def engines(rng: Rng, folder: Path) -> bool:
    """Describe, open and place Q/DQ in a mutated engine file of edge-ad."""
    path = folder / "part.onnx"
    path.write_bytes(_mutated_model(pick(rng, _engines()), rng))
    described = verb("inspect", path, "--json")
    assert described.code in {0, 2, 3}, described
    try:
        graph = with_name(path, lambda: load_graph(path))
        target: Target = pick(rng, ("onnxruntime", "tensorrt"))
        place(to_quantize(graph, target), target, PlacementOverrides((), ()))
    except EdgeAdError:
        pass  # a runtime without the package onnx may still open it
    return _judges(path)


def plans(rng: Rng, folder: Path) -> bool:
    """Describe and open a plan of which bytes, sidecar or both are mutated."""
    path = folder / "part.plan"
    path.write_bytes(_PLAN)
    manifest = Manifest(method="draem", size_hw=(_SIDE, _SIDE))
    save_sidecar(path, Sidecar(engine_sha256=sha256(path), manifest=manifest, build=_BUILD))
    if rng.random() < 0.7:
        content = Sidecar(engine_sha256=sha256(path), manifest=manifest, build=_BUILD)
        changed = mutate_value(content.to_dict(), rng)
        sidecar_path(path).write_bytes(dump_yaml(changed).encode("utf-8", "surrogatepass"))
    else:
        path.write_bytes(mutate(_PLAN, rng))
    described = verb("inspect", path, "--json")
    assert described.code in {0, 2, 3}, described
    try:
        with_name(path, lambda: open_engine(path)).close()
    except EdgeAdError:
        pass  # as every plan where there is no GPU
    return described.code == 0


def _judges(path: Path) -> bool:
    """Open an engine and judge one image; a refusal names the file."""
    with with_name(path, lambda: open_engine(path)) as engine:
        manifest = engine.manifest
        frames = np.full((manifest.batch or 1, *manifest.size_hw, 3), 90, np.uint8)
        result = with_name(path, lambda: engine.infer(frames))
        assert result.maps.shape == frames.shape[:3], result.maps.shape
        assert result.scores.shape == frames.shape[:1], result.scores.shape
    return True


def _mutated_model(data: bytes, rng: Rng) -> bytes:
    if rng.random() < 0.35:
        return mutate(data, rng)
    model = onnx.load_model_from_string(data)
    for _ in range(int(rng.integers(1, 4))):
        _change(model, rng)
    return bytes(model.SerializeToString())


def _change(root: Any, rng: Rng) -> None:
    """Change one field somewhere in a message: its number, text, bytes or list."""
    message, field, index = pick(rng, _fields(root))
    value = getattr(message, field)
    if index is not None and rng.random() < 0.4:
        if rng.random() < 0.5:
            del value[index]
        else:
            value.append(value[index])
        return
    old = value if index is None else value[index]
    try:
        new = _other(old, rng)
        if index is None:
            setattr(message, field, new)
        else:
            value[index] = new
    except (TypeError, ValueError):  # out of the field's range
        message.ClearField(field)


def _other(old: Any, rng: Rng) -> Any:
    if isinstance(old, bytes):
        return mutate(old, rng)
    if isinstance(old, str):
        names = ("", "image", "anomaly_map", "anomaly_score", "relu", "Conv", "Loop", "a\0b")
        return (
            mutate(old.encode(), rng).decode(errors="replace")
            if old[:1] == "{"
            else pick(rng, names)
        )
    if isinstance(old, int) and rng.random() < 0.5:
        return int(rng.integers(0, 25))
    return pick(rng, [value for value in VALUES if isinstance(value, type(old))] or [0])


def _fields(message: Any) -> list[tuple[Any, str, int | None]]:
    """List all set fields below a message: their owner, name and place in a list."""
    places: list[tuple[Any, str, int | None]] = []
    for field, value in message.ListFields():
        repeated = not isinstance(value, bytes | str | int | float | Message)
        for index, item in enumerate(value if repeated else [value]):
            if isinstance(item, Message):
                places += _fields(item)
                if repeated:
                    places.append((message, field.name, index))
            elif index < 8:  # of a long list of numbers
                places.append((message, field.name, index if repeated else None))
    return places


@functools.lru_cache(maxsize=1)
def _foreign() -> bytes:
    """Return a small foreign graph: RGB float (1, 3, 16, 16) to a map and a score."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32), "weight")
    bias = numpy_helper.from_array(np.full(4, 0.1, np.float32), "bias")
    last = numpy_helper.from_array(rng.normal(0, 0.3, (1, 4, 1, 1)).astype(np.float32), "last")
    nodes = [
        helper.make_node("Conv", ["input", "weight", "bias"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Conv", ["relu", "last"], ["mixed"]),
        helper.make_node("Sigmoid", ["mixed"], ["anomaly_map"]),
        helper.make_node("ReduceMax", ["anomaly_map"], ["most"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Identity", ["most"], ["pred_score"]),
    ]
    shapes = {"input": [1, 3, _SIDE, _SIDE], "anomaly_map": [1, 1, _SIDE, _SIDE], "pred_score": [1]}
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    outputs = [values["anomaly_map"], values["pred_score"]]
    graph = helper.make_graph(nodes, "foreign", [values["input"]], outputs, [weight, bias, last])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


@functools.lru_cache(maxsize=1)
def _engines() -> tuple[bytes, ...]:
    """Return engine files of edge-ad: one without weights, and the foreign graph imported."""
    with tempfile.TemporaryDirectory() as name:
        path, out = Path(name) / "foreign.onnx", Path(name) / "part.onnx"
        path.write_bytes(_foreign())
        done = verb("import", path, "--adapter", "anomalib", "-o", out)
        assert done.code == 0, done
        return ENGINE.read_bytes(), out.read_bytes(), out.read_bytes()


_PLAN = b"ftrt" + bytes(range(256)) * 8
_BUILD = BuildRecord(
    runtime="tensorrt",
    version="10.3.0",
    onnx="part.onnx",
    onnx_sha256="0" * 64,
    plan_bytes=len(_PLAN),
    gpu="Orin",
    compute_capability="8.7",
    cuda="12.6",
    driver="540.4.0",
)
