"""TensorRT's runtime half, fake on `FakeCuda`: what a plan's bytes say is what it answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from edge_ad.engine.base import Prediction
from edge_ad.frame import Image
from tests.engine.tensorrt.fake_cuda import FakeCuda, FakeStream
from tests.engine.tensorrt.fake_program import FakeProgram


class DataType(enum.Enum):
    UINT8 = 1
    FLOAT = 2
    HALF = 3


class EngineValidity(enum.Enum):
    VALID = 0
    INVALID = 2


class EngineInvalidityDiagnostics(enum.IntFlag):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2


class CudaGraphStrategy(enum.Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)


Tensor = tuple[DataType, tuple[int, ...]]


def tensors(batch: int = 1, side: int = 32) -> dict[str, Tensor]:
    """Return the contract's tensors."""
    return {
        "image": (DataType.UINT8, (batch, side, side, 3)),
        "anomaly_map": (DataType.FLOAT, (batch, side, side)),
        "anomaly_score": (DataType.FLOAT, (batch,)),
    }


def green(images: Image) -> Prediction:
    maps = (images[:, :, :, 1] / np.float32(255)).astype(np.float32)
    return Prediction(maps, maps.max(axis=(1, 2)))


@dataclass
class FakeTensorRT:
    """A TensorRT of one version on one GPU. `rtx` adds what only TensorRT-RTX has.

    `refuses` is what deserializing logs before it gives nothing; `fails` the context call that
    answers false; `calls` lists what was done.
    """

    cuda: FakeCuda
    tensors: dict[str, Tensor] = field(default_factory=tensors)
    profile: tuple[int, int, int] = (1, 1, 1)
    rtx: bool = False
    refuses: str = ""
    fails: str = ""
    no_runtime: bool = False
    no_context: bool = False
    invalid: int = 0
    trusted: bool | None = None
    calls: list[str] = field(default_factory=list)

    def module(self, version: str = "10.3.0") -> Any:
        parts: dict[str, Any] = {
            "__version__": version,
            "ILogger": ILogger,
            "DataType": DataType,
            "EngineValidity": EngineValidity,
            "EngineInvalidityDiagnostics": EngineInvalidityDiagnostics,
            "Runtime": lambda logger: self._runtime(logger),
        }
        if self.rtx:
            parts["CudaGraphStrategy"] = CudaGraphStrategy
        return SimpleNamespace(**parts)

    def _runtime(self, logger: Any) -> Any:
        if self.no_runtime:
            logger.log(ILogger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return _RtxRuntime(self, logger) if self.rtx else _Runtime(self, logger)


class _Runtime:
    def __init__(self, fake: FakeTensorRT, logger: Any) -> None:
        self._fake, self._logger = fake, logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, data: bytes) -> Any:
        self._fake.trusted = self.engine_host_code_allowed
        if self._fake.refuses:
            self._logger.log(ILogger.ERROR, self._fake.refuses)
            return None
        return _Engine(self._fake, self._logger)


class _RtxRuntime(_Runtime):
    engine_header_size = 4

    def get_engine_validity(self, header: bytes) -> tuple[EngineValidity, int]:
        assert len(header) == self.engine_header_size
        bad = self._fake.invalid
        return (EngineValidity.INVALID if bad else EngineValidity.VALID), bad


class _Engine:
    def __init__(self, fake: FakeTensorRT, logger: Any) -> None:
        self._fake, self._logger = fake, logger
        self.num_io_tensors = len(fake.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._fake.tensors)[index]

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._fake.tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._fake.tensors[name][1]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        rest = self._fake.tensors[name][1][1:]
        return [(count, *rest) for count in self._fake.profile]

    def create_runtime_config(self) -> Any:
        return _RuntimeConfig(self._fake)

    def create_execution_context(self, config: Any = None) -> Any:
        if config is not None:
            self._fake.calls.append(config.cuda_graph_strategy.name)
        return None if self._fake.no_context else _Context(self._fake, self._logger)


class _RuntimeConfig:
    def __init__(self, fake: FakeTensorRT) -> None:
        self._fake = fake
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED

    def create_runtime_cache(self) -> Any:
        return _Kernels(self._fake)

    def set_runtime_cache(self, cache: Any) -> bool:
        self._fake.calls.append("cache set")
        return True


class _Kernels:
    def __init__(self, fake: FakeTensorRT) -> None:
        self._fake = fake

    def deserialize(self, data: bytes) -> bool:
        self._fake.calls.append(f"kernels {data.decode()}")
        return data == b"compiled"

    def serialize(self) -> bytes:
        return b"compiled"


class _Context(FakeProgram):
    """Calls answer true or false, as TensorRT's do, and errors go to the log."""

    def __init__(self, fake: FakeTensorRT, logger: Any) -> None:
        _, height, width, _ = fake.tensors["image"][1]
        super().__init__(fake.cuda, green, size_hw=(height, width), batch=fake.profile)
        self._fake, self._logger = fake, logger
        self._named: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.resize(shape[0])
        return self._done("set_input_shape")

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._named[name] = address
        if len(self._named) == 3:
            names = ("image", "anomaly_map", "anomaly_score")
            self.bind(*(self._named[name] for name in names))
        return self._done("set_tensor_address")

    def execute_async_v3(self, handle: int) -> bool:
        stream = next(one for one in self._fake.cuda.streams if one.handle == handle)
        assert isinstance(stream, FakeStream)
        self.enqueue(stream)
        return self._done("execute_async_v3")

    def _done(self, call: str) -> bool:
        if call == self._fake.fails:
            self._logger.log(ILogger.ERROR, f"{call}: Error Code 1: Cuda Runtime (out of memory)")
            return False
        return True
