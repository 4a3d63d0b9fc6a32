"""A plan as a program: deserialized, checked against the contract, with its execution context."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.engine.options import DEFAULT_OPTIONS, EngineOptions
from edge_ad.engine.tensorrt import runtime_cache as _runtime_cache
from edge_ad.engine.tensorrt.cuda import CudaError, CudaStream
from edge_ad.engine.tensorrt.preflight import CheckedPlan
from edge_ad.engine.tensorrt.runtimes import TensorRT, first_error, is_out_of_memory, messages
from edge_ad.errors import IncompatibleError
from edge_ad.manifest import Manifest
from edge_ad.plan_record import NAMES, build_command


class PlanProgram:
    """A network on the card. `graph` is not empty where TensorRT replays launches by itself."""

    def __init__(self, checked: CheckedPlan, engine: Any, logger: Any, *, graphs: bool) -> None:
        trt = checked.trt
        self.size_hw = checked.manifest.size_hw
        self.batch = _check_contract(trt, engine, checked)
        self.graph = ""
        self._engine, self._logger = engine, logger
        self._kernels: _runtime_cache.RuntimeCache | None = None
        self._config: Any = None  # kept: the context does not promise to hold it
        if _runtime_cache.decides_itself(trt):
            self.graph = f"replayed by {NAMES[checked.build.runtime]}"
            self._config, self._kernels = _runtime_cache.configure(
                trt, engine, _kernel_file(checked), graphs=graphs
            )
            self._context = engine.create_execution_context(self._config)
        else:
            self._context = engine.create_execution_context()
        if self._context is None:
            raise CudaError(f"TensorRT makes no context: {first_error(logger.errors)}")
        logger.errors.clear()

    def resize(self, count: int) -> None:
        self._must(self._context.set_input_shape(INPUT, (count, *self.size_hw, 3)))

    def bind(self, images: int, maps: int, scores: int) -> None:
        for name, address in ((INPUT, images), (MAP, maps), (SCORE, scores)):
            self._must(self._context.set_tensor_address(name, address))

    def enqueue(self, stream: CudaStream) -> None:
        self._must(self._context.execute_async_v3(stream.handle))

    def warmed_up(self) -> None:
        """Store what was compiled for this card, for the next start."""
        if self._kernels is not None:
            self._kernels.save()

    def close(self) -> None:
        """Free the context before the engine it belongs to."""
        self._context = None
        self._config = self._kernels = None
        self._engine = None

    def _must(self, done: object) -> None:
        if not done:
            raise CudaError(f"TensorRT reports: {first_error(self._logger.errors)}")


def load_program(checked: CheckedPlan, options: EngineOptions = DEFAULT_OPTIONS) -> PlanProgram:
    """Load a checked plan.

    Raises IncompatibleError when TensorRT does not accept it, CudaError when the GPU does not.
    """
    trt, logger = checked.trt, messages(checked.trt)
    try:
        runtime = trt.Runtime(logger)
    except (TypeError, RuntimeError) as error:  # what the bindings make of a null pointer
        raise CudaError(f"TensorRT makes no runtime: {first_error(logger.errors)}") from error
    runtime.engine_host_code_allowed = options.trust_host_code
    data = _read(checked)
    _ask_validity(trt, runtime, data, checked)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise _refusal(checked, first_error(logger.errors))
    return PlanProgram(checked, engine, logger, graphs=options.cuda_graph)


def _read(checked: CheckedPlan) -> bytes:
    """The very bytes that were checked: a plan may be replaced at any time."""
    data = checked.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != checked.sha256:
        raise IncompatibleError(f"{checked.path} was replaced while it was opened. Open it again.")
    return data


def _ask_validity(trt: TensorRT, runtime: Any, data: bytes, checked: CheckedPlan) -> None:
    """TensorRT-RTX looks at a plan's header and tells what would keep it from loading."""
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, found = runtime.get_engine_validity(data[: runtime.engine_header_size])
    if validity != trt.EngineValidity.INVALID:
        return
    causes = [
        name.lower().replace("_", " ")
        for name, flag in trt.EngineInvalidityDiagnostics.__members__.items()
        if found & int(flag)
    ]
    raise _refusal(checked, ", ".join(causes) or "its header is not valid here")


def _refusal(checked: CheckedPlan, reason: str) -> Exception:
    if is_out_of_memory(reason):
        return CudaError(reason)
    build = checked.build
    line = build_command(
        checked.path.with_name(build.onnx), checked.path, build.options, build.runtime
    )
    return IncompatibleError(
        f"{checked.path}: {NAMES[build.runtime]} {build.version} does not load it: {reason}. "
        f"Mend: {line}"
    )


def _check_contract(trt: TensorRT, engine: Any, checked: CheckedPlan) -> tuple[int, int, int]:
    """Compare the plan's inputs and outputs with the manifest; its (least, usual, most) images."""
    manifest = checked.manifest
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    batch = _batch(engine, names, manifest)
    count, (height, width) = manifest.batch or -1, manifest.size_hw
    wanted = {
        INPUT: (trt.DataType.UINT8, (count, height, width, 3)),
        MAP: (trt.DataType.FLOAT, (count, height, width)),
        SCORE: (trt.DataType.FLOAT, (count,)),
    }
    found = {name: _door(engine, name, fixed=manifest.batch) for name in names}
    if found != wanted:
        raise IncompatibleError(
            f"{checked.path}: its inputs and outputs are not the engine contract. "
            f"Expected {_doors(wanted)}; got {_doors(found)}. Build it from an exported ONNX file."
        )
    return batch


def _batch(engine: Any, names: list[str], manifest: Manifest) -> tuple[int, int, int]:
    """From the plan's own profile, where the number of images is free."""
    if INPUT in names and engine.get_tensor_shape(INPUT)[0] == -1:
        least, usual, most = engine.get_tensor_profile_shape(INPUT, 0)
        return (least[0], usual[0], most[0])
    return (manifest.batch or 1,) * 3


def _door(engine: Any, name: str, *, fixed: int | None) -> tuple[Any, tuple[int, ...]]:
    """Type and shape; a free number of images that the profile fixes counts as that number."""
    shape = tuple(engine.get_tensor_shape(name))
    if fixed is not None and shape[:1] == (-1,):
        shape = (fixed, *shape[1:])
    return engine.get_tensor_dtype(name), shape


def _doors(doors: dict[str, tuple[Any, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {kind} {list(shape)}" for name, (kind, shape) in doors.items())


def _kernel_file(checked: CheckedPlan) -> Path:
    return _runtime_cache.cache_file(checked.sha256, checked.build.version, checked.gpu)
