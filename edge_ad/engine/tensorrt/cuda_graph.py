"""CUDA graphs by cuda-python's driver bindings: PyCUDA has none.

A graph replays a network's hundreds of kernel launches as one call, which is what small networks
wait for (CUDA programming guide, "CUDA Graphs"; TensorRT, "Enqueue-bound workloads").
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
            raise CudaError(f"the card refuses to replay a graph: {status.name}")

    def close(self) -> None:
        """Free the graph; a second call does nothing."""
        if self._executable is not None:
            self._driver.cuGraphExecDestroy(self._executable)
            self._executable = None


def capture(stream: int, work: Callable[[], None]) -> CapturedGraph:
    """Record what `work` queues on a stream. Raises CaptureRefused; the stream is usable after it.

    Thread-local mode: calls of other threads neither disturb the capture nor are disturbed by it.
    """
    driver = _import_driver()
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    _ask(driver.cuStreamBeginCapture, stream, mode)
    try:
        work()
    except EdgeAdError as error:
        driver.cuStreamEndCapture(stream)  # leaves capture mode; the broken graph is none
        raise CaptureRefused(str(error)) from error
    (graph,) = _ask(driver.cuStreamEndCapture, stream)
    try:
        (executable,) = _ask(driver.cuGraphInstantiate, graph, 0)
    finally:
        driver.cuGraphDestroy(graph)
    return CapturedGraph(driver, executable)


def _ask(function: Callable[..., tuple[Any, ...]], *words: object) -> tuple[Any, ...]:
    """The values a driver call answers, less its status."""
    try:
        status, *values = function(*words)
    except RuntimeError as error:  # bindings newer than the driver lack what they look for
        raise CaptureRefused(f"cuda-bindings do not fit the driver: {error}") from error
    if status:
        raise CaptureRefused(f"the driver answers {status.name}")
    return tuple(values)


def _import_driver() -> Any:
    """`cuda.bindings.driver`, called `cuda.cuda` before cuda-python 12.8."""
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
