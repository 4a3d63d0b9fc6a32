"""Parse ONNX into a strongly typed TensorRT network, and check it against the engine contract."""

from __future__ import annotations

from typing import Any

from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.engine.tensorrt.runtimes import TensorRT, first_error
from edge_ad.errors import IncompatibleError
from edge_ad.export.plan.source import OnnxSource

_Tensors = dict[str, tuple[str, tuple[int, ...]]]


def parse(trt: TensorRT, builder: Any, logger: Any, source: OnnxSource) -> Any:
    """Parse a source into a network.

    Strong typing makes the graph's own types binding: precision is the ONNX file's, and no build
    option changes it. Raises IncompatibleError, naming the node, for operators that TensorRT does
    not support, and for inputs and outputs that do not match the contract.
    """
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(source.data, str(source.path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise IncompatibleError(_parse_error(source, errors, logger.errors))
    _check_contract(trt, network, source)
    return network


def _parse_error(source: OnnxSource, errors: list[Any], logged: list[str]) -> str:
    """Format the parser's first error with the node's name, its operator and a fix."""
    where, reason = "the file", first_error(logged)
    if errors:
        where = f"node '{errors[0].node_name()}' ({errors[0].node_operator()})"
        reason = _reason(errors[0])
    fix = "Remove the operator or replace it by others, and export again."
    if "UInt8" in reason:
        fix = "The uint8 input must go straight into a Cast; export it with: edge-ad export"
    return f"{source.path}: TensorRT refuses {where}: {reason}. {fix}"


def _reason(error: Any) -> str:
    """Return the description without its heading; a failed check just says 'false'."""
    lines = [line for line in error.desc().splitlines() if line.strip() not in ("", "false")]
    if lines:
        return first_error(lines[1:] or lines)
    return str(error.code()).rpartition(".")[2].lower().replace("_", " ")


def _check_contract(trt: TensorRT, network: Any, source: OnnxSource) -> None:
    """Compare inputs and outputs with the contract; -1 stands for an open number of images."""
    batch, (height, width) = source.manifest.batch or -1, source.manifest.size_hw
    expected: _Tensors = {
        INPUT: ("uint8", (batch, height, width, 3)),
        MAP: ("float32", (batch, height, width)),
        SCORE: ("float32", (batch,)),
    }
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [network.get_output(index) for index in range(network.num_outputs)]
    observed = {
        tensor.name: (_type_name(trt, tensor.dtype), tuple(tensor.shape)) for tensor in tensors
    }
    if -1 in observed.get(INPUT, ("", ()))[1][1:]:
        raise IncompatibleError(
            f"{source.path}: height or width of '{INPUT}' is dynamic {_shape(observed[INPUT][1])}, "
            f"expected {height} x {width}. Only the number of images may vary; export it again "
            "with a fixed --size."
        )
    if observed != expected:
        raise IncompatibleError(
            f"{source.path}: its inputs and outputs do not match the engine contract. "
            f"Expected {_format(expected)}; got {_format(observed)}. Export it with: edge-ad export"
        )


def _type_name(trt: TensorRT, dtype: Any) -> str:
    return {trt.DataType.UINT8: "uint8", trt.DataType.FLOAT: "float32"}.get(dtype, str(dtype))


def _format(tensors: _Tensors) -> str:
    return ", ".join(f"{name} {dtype} {_shape(shape)}" for name, (dtype, shape) in tensors.items())


def _shape(shape: tuple[int, ...]) -> str:
    return str(["N" if side < 0 else side for side in shape]).replace("'", "")
