"""Import a foreign ONNX graph: normalise it, wrap it, and compare it with what it was before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from edge_ad.engine import Prediction, open_engine
from edge_ad.engine.base import default_profile
from edge_ad.errors import EdgeAdError, IncompatibleError, UsageError
from edge_ad.export.adapter.description import (
    Adapter,
    ForeignInput,
    SizeHW,
    chosen_outputs,
    read_input,
    with_scale,
)
from edge_ad.export.adapter.original import OriginalGraph, prepared
from edge_ad.export.adapter.outputs import OutputShapes, read_outputs
from edge_ad.export.adapter.wrap import wrap
from edge_ad.export.comparison_frames import generated_frames
from edge_ad.export.parity import TOLERANCE, Agreement, compare
from edge_ad.files import replacing, sha256
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.manifest import Manifest, Provenance, Score
from edge_ad.onnx_graph.load import load_onnx, set_manifest
from edge_ad.onnx_graph.names import rename
from edge_ad.onnx_graph.normalise import flat, set_input_shape, simplified
from edge_ad.onnx_graph.opset import in_opset, opset_of
from edge_ad.onnx_graph.retype import other_floats, read_floats, to_float32
from edge_ad.onnx_graph.simplify import name_nodes
from edge_ad.provenance import stamp

_FOREIGN = "foreign/"
_IMAGES = 4
_LARGEST_BYTES = (1 << 31) - 1  # of one protocol buffer message


@dataclass
class ForeignGraph:
    """A foreign graph on its way: as it came, flat and in float32, and what was changed."""

    source: Path
    adapter: Adapter
    outputs: tuple[str, str | None]
    input: ForeignInput
    model: ModelProto
    floats: tuple[str, ...]
    original_opset: int
    changes: list[str] = field(default_factory=list)


def adapt_onnx(
    source: Path,
    out: Path,
    adapter: Adapter,
    size_hw: SizeHW | None = None,
    batch: int | None = None,
) -> dict[str, Any]:
    """Write `source` as an engine file in the usual form, and return the result for `--json`.

    The file is written only if its outputs are those of `source` on generated images. Raises
    UsageError for options that do not fit the graph, IncompatibleError with the reason when it is
    not ONNX, cannot be brought to the usual form, or is no map and score.
    """
    try:
        foreign = _read(source, adapter, size_hw, batch)
        images, reference, shapes = _reference(foreign)
        model, agreement = _first_that_agrees(foreign, images, reference, shapes, out)
    except UsageError as error:
        if str(source) in str(error):
            raise
        raise type(error)(f"{source}: {error}") from error
    except OSError:
        raise
    except Exception as error:  # of a graph that is not valid; onnx's share no public base class
        text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        text = text.removeprefix(f"{source}: ")
        raise IncompatibleError(f"{source}: {text}.") from error
    return _result(foreign, out, model, agreement, shapes)


def _read(
    source: Path, adapter: Adapter, size_hw: SizeHW | None, batch: int | None
) -> ForeignGraph:
    model = load_onnx(source, check=False)  # ONNX Runtime judges it; onnx refuses open outputs
    outputs = chosen_outputs(model, adapter)
    described = read_input(model, adapter, size_hw, batch, source)
    adapter = with_scale(adapter, described, source)
    kept = flat(model, [name for name in outputs if name])
    floats = other_floats(kept)
    return ForeignGraph(source, adapter, outputs, described, kept, floats, opset_of(model))


def _reference(foreign: ForeignGraph) -> tuple[Image, Prediction, OutputShapes]:
    """Run the graph as it came; settle on one image a call where it cannot take several."""
    original, kind = _original(foreign)
    batch = foreign.input.batch
    count = max(batch or 0, _IMAGES) // (batch or 1) * (batch or 1)
    images = generated_frames(foreign.input.size_hw, count + 2)[2:]  # without black and white
    single, shapes = _run(original, foreign, kind, images, batch or 1)
    if batch is None and not _takes_several(original, foreign, kind, images, single):
        foreign.input = replace(foreign.input, batch=1)
        foreign.changes.append("one image a call: it says any number, but mixes up or refuses more")
    return images, single, shapes


def _original(foreign: ForeignGraph) -> tuple[OriginalGraph, str]:
    """Open the graph as it came, or flat and in float32 where ONNX Runtime cannot load it so."""
    name, kind = str(foreign.source), foreign.input.kind
    model = ModelProto()
    model.CopyFrom(foreign.model)
    to_float32(model)
    name_nodes(model)
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    plain_kind = kind if foreign.input.whole_numbers else "float32"
    if kind == "bfloat16":  # numpy has no such type to feed it
        return OriginalGraph(model.SerializeToString(), name), plain_kind
    try:
        return OriginalGraph(foreign.source, name), kind
    except IncompatibleError as error:
        try:
            original = OriginalGraph(model.SerializeToString(), name)
        except IncompatibleError:
            raise error from None
        reason = str(error).partition("cannot load it: ")[2]
        foreign.changes.append(f"compared flat and in float32, as ONNX Runtime says: {reason}")
        return original, plain_kind


def _run(
    original: OriginalGraph, foreign: ForeignGraph, kind: str, images: Image, count: int
) -> tuple[Prediction, OutputShapes]:
    """Run all images, `count` a call."""
    predictions = []
    for start in range(0, len(images), count):
        values = prepared(images[start : start + count], foreign.input, foreign.adapter, kind)
        outputs = original.run(values, foreign.outputs)
        prediction, shapes = read_outputs(outputs, foreign.outputs, count, foreign.input.size_hw)
        predictions.append(prediction)
    maps, scores = (np.concatenate(side) for side in zip(*predictions, strict=True))
    if not (np.isfinite(maps).all() and np.isfinite(scores).all()):
        raise IncompatibleError("its outputs contain NaN or Inf on generated images")
    return Prediction(maps, scores), shapes


def _takes_several(
    original: OriginalGraph, foreign: ForeignGraph, kind: str, images: Image, single: Prediction
) -> bool:
    """Return whether several images in one call give what each gives by itself."""
    try:
        together, _ = _run(original, foreign, kind, images, len(images))
    except IncompatibleError:
        return False
    return compare(single, together).within(_tolerance(foreign))


def _first_that_agrees(
    foreign: ForeignGraph, images: Image, reference: Prediction, shapes: OutputShapes, out: Path
) -> tuple[ModelProto, Agreement]:
    """Write the first form whose outputs agree. Raises IncompatibleError when none does."""
    problem: EdgeAdError | None = None
    for model in _forms(foreign):
        rename(model, _FOREIGN)
        engine = wrap(model, foreign.input, foreign.adapter, shapes)
        set_manifest(engine, _manifest(foreign))
        try:
            return engine, _write(engine, foreign, images, reference, out)
        except EdgeAdError as error:
            problem = error
    raise IncompatibleError(f"it cannot be brought to the usual form: {problem}") from problem


def _forms(foreign: ForeignGraph) -> Iterator[ModelProto]:
    """Yield the graph in float32, of fixed size and simplified, by opset, the best first."""
    model = ModelProto()
    model.CopyFrom(foreign.model)
    to_float32(model)
    if foreign.input.whole_numbers:
        read_floats(model.graph)
    for candidate in in_opset(model):
        set_input_shape(candidate, foreign.input.sides())
        yield simplified(candidate)


def _write(
    engine: ModelProto, foreign: ForeignGraph, images: Image, reference: Prediction, out: Path
) -> Agreement:
    """Write the engine file, unless its outputs differ from the graph's as it came."""
    if engine.ByteSize() > _LARGEST_BYTES:
        raise IncompatibleError("its weights exceed 2 GiB, more than one ONNX file can hold")
    try:
        onnx.checker.check_model(engine, full_check=True)
    except Exception as error:  # onnx's errors share no public base class
        raise IncompatibleError(str(error).strip().splitlines()[0]) from error
    with replacing(out) as temporary:
        onnx.save(engine, temporary)
        with open_engine(temporary) as opened:
            agreement = compare(reference, opened.infer(images))
        if not agreement.within(_tolerance(foreign)):
            raise IncompatibleError(f"its outputs would change: {agreement}")
    return agreement


def _tolerance(foreign: ForeignGraph) -> Any:
    halves = {"float16", "bfloat16"} & set(foreign.floats)
    return TOLERANCE["fp16" if halves else "fp32"]


def _manifest(foreign: ForeignGraph) -> Manifest:
    notes = {"imported from": foreign.source.name}
    return Manifest(
        method="imported",
        size_hw=foreign.input.size_hw,
        batch=foreign.input.batch,
        geometry=Geometry(shrink=foreign.adapter.shrink),
        score=Score(),
        provenance=stamp(Provenance(), parent_sha256=sha256(foreign.source), notes=notes),
    )


def _result(
    foreign: ForeignGraph, out: Path, model: ModelProto, agreement: Agreement, shapes: OutputShapes
) -> dict[str, Any]:
    read, opset = foreign.input, opset_of(model)
    least, _, most = default_profile(_manifest(foreign))
    return {
        "type": "import",
        "engine": str(out),
        "origin": foreign.source.name,
        "size_hw": list(read.size_hw),
        "batch": read.batch,
        "batch_range": [least, most],
        "input": {
            "name": read.name,
            "type": read.kind,
            "layout": read.layout,
            "channels": read.channels,
        },
        "map": {"name": foreign.outputs[0], "shape": list(shapes.map)},
        "score": foreign.outputs[1] or "max",
        "opset": opset,
        "ir_version": model.ir_version,
        "changes": _changes(foreign, opset, shapes),
        "agreement": agreement.as_json(),
    }


def _changes(foreign: ForeignGraph, opset: int, shapes: OutputShapes) -> list[str]:
    """Return what differs from the file as it came, in words."""
    read, changes = foreign.input, list(foreign.changes)
    if opset != foreign.original_opset:
        changes.append(f"opset {foreign.original_opset} became {opset}")
    if foreign.floats:
        changes.append(f"{' and '.join(foreign.floats)} became float32")
    if read.channels == 1:
        changes.append("colours become one grey channel, 0.299 R + 0.587 G + 0.114 B")
    if shapes.map_hw != read.size_hw:
        (h, w), (height, width) = shapes.map_hw, read.size_hw
        changes.append(f"the map of {h}x{w} is resized to {height}x{width}")
    return changes
