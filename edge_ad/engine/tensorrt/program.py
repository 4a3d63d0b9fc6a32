"""Load a plan: deserialize it, check it against the contract, create its execution context."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edge_ad.engine.base import INPUT, MAP, SCORE, format_tensors
from edge_ad.engine.options import DEFAULT_OPTIONS, EngineOptions
from edge_ad.engine.tensorrt import runtime_cache
from edge_ad.engine.tensorrt.cuda import CudaError, CudaStream
from edge_ad.engine.tensorrt.preflight import CheckedPlan
from edge_ad.engine.tensorrt.runtimes import TensorRT, first_error, is_out_of_memory, make_logger
from edge_ad.errors import IncompatibleError
from edge_ad.manifest import Manifest
from edge_ad.plan_record import NAMES, build_command


class PlanProgram:
    """A network on the GPU. `graph` is not empty where TensorRT replays launches by itself."""

    def __init__(self, checked: CheckedPlan, engine: Any, logger: Any, *, graphs: bool) -> None:
        trt = checked.trt
        self.size_hw = checked.manifest.size_hw
        self.batch = _check_contract(trt, engine, checked)
        self.graph = ""
        self._engine, self._logger = engine, logger
        self._kernels: runtime_cache.RuntimeCache | None = None
        self._config: Any = None  # kept: the context does not guarantee to hold it
        if runtime_cache.is_supported(trt):
            self.graph = f"replayed by {NAMES[checked.build.runtime]}"
            self._config, self._kernels = runtime_cache.configure(
                trt, engine, _kernel_file(checked), graphs=graphs
            )
            self._context = engine.create_execution_context(self._config)
        else:
            self._context = engine.create_execution_context()
        if self._context is None:
            raise CudaError(f"TensorRT cannot create a context: {first_error(logger.errors)}")
        logger.errors.clear()

    def resize(self, count: int) -> None:
        self._check(self._context.set_input_shape(INPUT, (count, *self.size_hw, 3)))

    def bind(self, images: int, maps: int, scores: int) -> None:
        for name, address in ((INPUT, images), (MAP, maps), (SCORE, scores)):
            self._check(self._context.set_tensor_address(name, address))

    def enqueue(self, stream: CudaStream) -> None:
        self._check(self._context.execute_async_v3(stream.handle))

    def warmed_up(self) -> None:
        """Store the kernels compiled for this GPU, for the next start."""
        if self._kernels is not None:
            self._kernels.save()

    def close(self) -> None:
        """Free the context before the engine it belongs to."""
        self._context = None
        self._config = self._kernels = None
        self._engine = None

    def _check(self, succeeded: object) -> None:
        if not succeeded:
            raise CudaError(f"TensorRT reports: {first_error(self._logger.errors)}")


def load_program(checked: CheckedPlan, options: EngineOptions = DEFAULT_OPTIONS) -> PlanProgram:
    """Load a checked plan.

    Raises IncompatibleError when TensorRT does not accept it, CudaError when the GPU does not.
    """
    trt, logger = checked.trt, make_logger(checked.trt)
    try:
        runtime = trt.Runtime(logger)
    except (TypeError, RuntimeError) as error:  # the bindings' errors for a null pointer
        raise CudaError(
            f"TensorRT cannot create a runtime: {first_error(logger.errors)}"
        ) from error
    runtime.engine_host_code_allowed = options.trust_host_code
    data = _read(checked)
    _check_validity(trt, runtime, data, checked)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise _refusal(checked, first_error(logger.errors))
    return PlanProgram(checked, engine, logger, graphs=options.cuda_graph)


def _read(checked: CheckedPlan) -> bytes:
    """Return the bytes that were checked: a plan may be replaced at any time."""
    data = checked.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != checked.sha256:
        raise IncompatibleError(
            f"{checked.path} was replaced while it was being opened. Open it again."
        )
    return data


def _check_validity(trt: TensorRT, runtime: Any, data: bytes, checked: CheckedPlan) -> None:
    """Raise IncompatibleError for what TensorRT-RTX finds in a plan's header, before loading it."""
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, diagnostics = runtime.get_engine_validity(data[: runtime.engine_header_size])
    if validity != trt.EngineValidity.INVALID:
        return
    causes = [
        name.lower().replace("_", " ")
        for name, flag in trt.EngineInvalidityDiagnostics.__members__.items()
        if diagnostics & int(flag)
    ]
    raise _refusal(checked, ", ".join(causes) or "its header is not valid here")


def _refusal(checked: CheckedPlan, reason: str) -> Exception:
    if is_out_of_memory(reason):
        return CudaError(reason)
    build = checked.build
    command = build_command(
        checked.path.with_name(build.onnx), checked.path, build.options, build.runtime
    )
    return IncompatibleError(
        f"{checked.path}: {NAMES[build.runtime]} {build.version} does not load it: {reason}. "
        f"Build it again with: {command}"
    )


def _check_contract(trt: TensorRT, engine: Any, checked: CheckedPlan) -> tuple[int, int, int]:
    """Check inputs and outputs against the manifest; return (minimum, optimum, maximum) images."""
    manifest = checked.manifest
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    batch = _batch(engine, names, manifest)
    count, (height, width) = manifest.batch or -1, manifest.size_hw
    expected = {
        INPUT: (trt.DataType.UINT8, (count, height, width, 3)),
        MAP: (trt.DataType.FLOAT, (count, height, width)),
        SCORE: (trt.DataType.FLOAT, (count,)),
    }
    actual = {name: _tensor(engine, name, fixed=manifest.batch) for name in names}
    if actual != expected:
        raise IncompatibleError(
            f"{checked.path}: its inputs and outputs do not match the engine contract. "
            f"Expected {format_tensors(expected.items())}; got {format_tensors(actual.items())}. "
            "Build it from an exported ONNX file."
        )
    return batch


def _batch(engine: Any, names: list[str], manifest: Manifest) -> tuple[int, int, int]:
    """Return (minimum, optimum, maximum) images, from the plan's profile if the number is free."""
    if INPUT in names and engine.get_tensor_shape(INPUT)[0] == -1:
        minimum, optimum, maximum = engine.get_tensor_profile_shape(INPUT, 0)
        return (minimum[0], optimum[0], maximum[0])
    return (manifest.batch or 1,) * 3


def _tensor(engine: Any, name: str, *, fixed: int | None) -> tuple[Any, tuple[int, ...]]:
    """Return type and shape, with a free number of images replaced by the `fixed` one."""
    shape = tuple(engine.get_tensor_shape(name))
    if fixed is not None and shape[:1] == (-1,):
        shape = (fixed, *shape[1:])
    return engine.get_tensor_dtype(name), shape


def _kernel_file(checked: CheckedPlan) -> Path:
    return runtime_cache.cache_file(checked.sha256, checked.build.version, checked.gpu)
