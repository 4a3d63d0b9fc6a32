"""Bring a graph to the opset that edge-ad's own exports have, where its operators allow."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.version_converter
from onnx import ModelProto

from edge_ad.errors import IncompatibleError

OPSET, IR_VERSION = 18, 8  # of `export`: read by ONNX Runtime since 1.14 and TensorRT since 8.6
_NEW_RESIZE = 11  # the first opset whose Resize names how it maps coordinates


def opset_of(model: ModelProto) -> int:
    """Return the version of ONNX's own operators that a model uses."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def in_opset(model: ModelProto) -> Iterator[ModelProto]:
    """Yield copies of a flat graph in the usual opset, the best first.

    An older one is converted. A newer one is first read as if it were the usual one, which is
    right if its operators did not change since, and then kept as it is. The caller compares outputs
    and takes the first that agrees. Raises IncompatibleError, naming the operator, when an older
    graph cannot be converted.
    """
    version = opset_of(model)
    if version < OPSET:
        yield _raised(model, version)
    elif version > OPSET and (older := _labelled(model, OPSET)) is not None:
        yield older
    if version >= OPSET:
        kept = _labelled(model, version)
        if kept is None:
            raise IncompatibleError(f"opset {version}: onnx's checker refuses the graph")
        yield kept


def _raised(model: ModelProto, version: int) -> ModelProto:
    source = ModelProto()
    source.CopyFrom(model)
    source.ir_version = max(source.ir_version, IR_VERSION)  # initializers need not be inputs
    try:
        raised = onnx.version_converter.convert_version(source, OPSET)
    except Exception as error:  # the converter's errors share no public base class
        reason = str(error).strip().splitlines()[0].rpartition("failed: ")[2]
        raise IncompatibleError(
            f"opset {version} cannot be raised to {OPSET}: {_culprit(source)}{reason}"
        ) from error
    if version < _NEW_RESIZE:
        _keep_old_resize(raised)
    raised.ir_version = IR_VERSION
    return raised


def _culprit(model: ModelProto) -> str:
    """Return the first operator that cannot be converted by itself, as the start of a sentence."""
    for node in model.graph.node:
        single = ModelProto()
        single.CopyFrom(model)
        del single.graph.node[:], single.graph.output[:]
        single.graph.node.add().CopyFrom(node)
        known = {tensor.name for tensor in single.graph.initializer}
        del single.graph.input[:]
        single.graph.input.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in node.input
            if name and name not in known
        )
        single.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output)
        try:
            onnx.version_converter.convert_version(single, OPSET)
        except Exception:  # as above
            return f"{node.op_type} ('{node.name}'): "
    return ""


def _keep_old_resize(model: ModelProto) -> None:
    """Set the coordinates of the old Upsample and Resize, which onnx's converter forgets."""
    for node in model.graph.node:
        if node.op_type == "Resize":
            kept = [a for a in node.attribute if a.name == "mode"]
            del node.attribute[:]
            node.attribute.extend(kept)
            for name, value in (
                ("coordinate_transformation_mode", "asymmetric"),
                ("nearest_mode", "floor"),
            ):
                node.attribute.append(onnx.helper.make_attribute(name, value))


def _labelled(model: ModelProto, version: int) -> ModelProto | None:
    """Return a copy that claims this opset, None when onnx's checker does not accept that."""
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.opset_import[:]
    copy.opset_import.append(onnx.helper.make_opsetid("", version))
    copy.ir_version = onnx.helper.find_min_ir_version_for(copy.opset_import)
    context = onnx.checker.C.CheckerContext()
    context.opset_imports, context.ir_version = {"": version}, copy.ir_version
    try:
        for node in copy.graph.node:
            onnx.checker.check_node(node, context)
        onnx.shape_inference.infer_shapes(copy, check_type=True, strict_mode=True)
    except Exception:  # onnx's errors share no public base class
        return None
    return copy
