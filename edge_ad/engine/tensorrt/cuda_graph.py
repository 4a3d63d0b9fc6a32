"""CUDA graphs through cuda-python's driver bindings: PyCUDA has none.

A graph replays a network's hundreds of kernel launches as one call. For small networks the launches
take most of the time (CUDA programming guide, "CUDA Graphs"; TensorRT, "Enqueue-bound workloads").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_ad.engine.tensorrt.cuda import CaptureRefused, CudaError, CudaStream
from edge_ad.errors import EdgeAdError


class CapturedGraph:
    """An instantiated graph."""

    def __init__(self, driver: Any, executable: Any) -> None:
        self._driver, self._executable = driver, executable

    def launch(self, stream: CudaStream) -> None:
        status, *_ = self._driver.cuGraphLaunch(self._executable, stream.handle)
        if status:
            raise CudaError(f"the GPU cannot replay a CUDA graph: {status.name}")

    def close(self) -> None:
        """Free the graph; a second call does nothing."""
        if self._executable is not None:
            self._driver.cuGraphExecDestroy(self._executable)
            self._executable = None


def capture(stream: int, work: Callable[[], None]) -> CapturedGraph:
    """Record what `work` queues on a stream. Raises CaptureRefused; the stream stays usable.

    Capture is thread-local: calls of other threads neither disturb it nor are disturbed by it.
    """
    driver = _import_driver()
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    _call(driver.cuStreamBeginCapture, stream, mode)
    try:
        work()
    except EdgeAdError as error:
        driver.cuStreamEndCapture(stream)  # leaves capture mode; there is no graph to free
        raise CaptureRefused(str(error)) from error
    (graph,) = _call(driver.cuStreamEndCapture, stream)
    try:
        (executable,) = _call(driver.cuGraphInstantiate, graph, 0)
    finally:
        driver.cuGraphDestroy(graph)
    return CapturedGraph(driver, executable)


def _call(function: Callable[..., tuple[Any, ...]], *arguments: object) -> tuple[Any, ...]:
    """Call the driver and return its values without the status. Raises CaptureRefused."""
    try:
        status, *values = function(*arguments)
    except RuntimeError as error:  # raised by bindings newer than the driver
        raise CaptureRefused(f"cuda-bindings do not match the driver: {error}") from error
    if status:
        raise CaptureRefused(f"the driver returns {status.name}")
    return tuple(values)


def _import_driver() -> Any:
    """Import `cuda.bindings.driver`, called `cuda.cuda` before cuda-python 12.8."""
    try:
        try:
            from cuda.bindings import driver
        except ModuleNotFoundError:
            from cuda import cuda as driver
    except ImportError as error:
        raise CaptureRefused(
            "cuda-bindings are not installed: pip install 'edge-ad[tensorrt]'"
        ) from error
    return driver
