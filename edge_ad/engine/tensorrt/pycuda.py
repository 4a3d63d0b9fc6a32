"""A GPU through PyCUDA, which only this file imports."""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge_ad.engine.tensorrt.cuda import CudaError, CudaEvent, CudaGraph, CudaStream
from edge_ad.errors import IncompatibleError, MissingExtra


class PyCuda:
    """The first GPU, in its primary context, which TensorRT uses too.

    Raises MissingExtra without PyCUDA, IncompatibleError when it does not load.
    """

    def __init__(self) -> None:
        self._driver = _import_driver()
        with _translated(self._driver, "cannot use the GPU"):
            self._context = primary_context()
            self._shares_memory = _shares_memory(self._driver)
        self._memory: list[Any] = []
        self._handles: list[_PyStream | _PyEvent] = []

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        with _translated(self._driver, "cannot use the GPU"):
            self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        with _translated(self._driver, f"cannot allocate {size} bytes of page-locked memory"):
            flags = self._driver.host_alloc_flags.DEVICEMAP if self._shares_memory else 0
            array: NDArray[Any] = self._driver.pagelocked_empty(shape, dtype, mem_flags=flags)
        self._memory.append(array.base)
        return array

    def mapped(self, array: NDArray[Any]) -> int | None:
        if not self._shares_memory:
            return None
        with _translated(self._driver, "cannot map page-locked memory"):
            base: Any = array.base
            return int(base.get_device_pointer())

    def memory(self, size: int) -> int:
        with _translated(self._driver, f"cannot allocate {size} bytes of GPU memory"):
            allocation = self._driver.mem_alloc(size)
        self._memory.append(allocation)
        return int(allocation)

    def stream(self) -> CudaStream:
        with _translated(self._driver, "cannot create a stream"):
            stream = _PyStream(self._driver)
        self._handles.append(stream)
        return stream

    def event(self) -> CudaEvent:
        with _translated(self._driver, "cannot create an event"):
            event = _PyEvent(self._driver)
        self._handles.append(event)
        return event

    def upload(self, to: int, array: NDArray[Any], stream: CudaStream) -> None:
        with _translated(self._driver, "upload failed"):
            self._driver.memcpy_htod_async(to, array, _native(stream))

    def download(self, array: NDArray[Any], address: int, stream: CudaStream) -> None:
        with _translated(self._driver, "download failed"):
            self._driver.memcpy_dtoh_async(array, address, _native(stream))

    def capture(self, stream: CudaStream, work: Callable[[], None]) -> CudaGraph:
        from edge_ad.engine.tensorrt.cuda_graph import capture

        return capture(stream.handle, work)

    def close(self) -> None:
        with contextlib.suppress(CudaError), self.current():
            with contextlib.suppress(self._driver.Error):
                self._driver.Context.synchronize()
            for allocation in self._memory:
                with contextlib.suppress(self._driver.Error):
                    allocation.free()
            for handle in self._handles:
                handle.free()
            self._memory, self._handles = [], []


class _PyStream:
    """A CudaStream on PyCUDA."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.native: Any = driver.Stream()
        self.handle = int(self.native.handle)

    def free(self) -> None:
        """Destroy the stream with its last reference; PyCUDA needs the context current for it."""
        self.native = None

    def wait(self, event: CudaEvent) -> None:
        assert isinstance(event, _PyEvent)
        with _translated(self._driver, "a stream cannot wait"):
            self.native.wait_for_event(event.native)

    def synchronize(self) -> None:
        with _translated(self._driver, "the GPU reports"):
            self.native.synchronize()


class _PyEvent:
    """A CudaEvent on PyCUDA."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.native: Any = driver.Event()

    def free(self) -> None:
        """Destroy the event with its last reference, as a stream."""
        self.native = None

    def record(self, stream: CudaStream) -> None:
        with _translated(self._driver, "an event cannot be recorded"):
            self.native.record(_native(stream))

    def synchronize(self) -> None:
        with _translated(self._driver, "the GPU reports"):
            self.native.synchronize()

    def ms_since(self, earlier: CudaEvent) -> float:
        assert isinstance(earlier, _PyEvent)
        with _translated(self._driver, "an event was not reached"):
            return float(self.native.time_since(earlier.native))


def _native(stream: CudaStream) -> Any:
    assert isinstance(stream, _PyStream)
    return stream.native


@functools.cache
def primary_context() -> Any:
    """Retain the first GPU's primary context, once and for the life of the process.

    TensorRT does the same. Releasing it in between would leave it on the thread's stack of current
    contexts (PyCUDA 2026.1, `context::detach`).
    """
    driver = _import_driver()
    driver.init()
    context = driver.Device(0).retain_primary_context()
    atexit.register(context.detach)
    return context


def _shares_memory(driver: Any) -> bool:
    """Return whether the first GPU is integrated and reads the host's memory."""
    device, names = driver.Device(0), driver.device_attribute
    return bool(
        device.get_attribute(names.INTEGRATED) and device.get_attribute(names.CAN_MAP_HOST_MEMORY)
    )


def _import_driver() -> Any:
    try:
        import pycuda.driver as driver
    except ModuleNotFoundError as error:
        raise MissingExtra("running a plan", "pycuda", "tensorrt") from error
    except ImportError as error:  # libcuda or libcurand is not there
        raise IncompatibleError(
            f"PyCUDA is installed but does not load: {error}. Install the NVIDIA driver, "
            "or reinstall PyCUDA: pip install --force-reinstall --no-binary pycuda pycuda"
        ) from error
    return driver


@contextlib.contextmanager
def _translated(driver: Any, failure: str) -> Iterator[None]:
    """Raise PyCUDA's errors as CudaError; out of memory includes how much is free."""
    try:
        yield
    except driver.MemoryError as error:
        raise CudaError(f"{failure} ({_free_memory(driver)}): {error}") from error
    except driver.Error as error:
        raise CudaError(f"{failure}: {error}") from error


def _free_memory(driver: Any) -> str:
    try:
        free, total = driver.mem_get_info()
    except driver.Error:
        return "the GPU is out of memory"
    return f"{free >> 20} of {total >> 20} MiB are free"
