"""The CUDA operations an engine needs, as an interface.

`PyCuda` implements it on a real GPU. The code above this interface (`pipeline`) is tested on
`FakeCuda` in the tests, which gives the same guarantees in host memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray

from edge_ad.errors import EdgeAdError


class CudaError(EdgeAdError):
    """A CUDA call failed, or an earlier asynchronous one has failed."""


class CaptureRefused(Exception):
    """The work cannot become a CUDA graph; the message is the reason."""


class CudaStream(Protocol):
    """A queue of work on the GPU: entries run in order, streams run concurrently."""

    handle: int

    def wait(self, event: CudaEvent) -> None:
        """Make later entries wait for `event`; return at once."""

    def synchronize(self) -> None:
        """Block until the stream is empty. Raises CudaError."""


class CudaEvent(Protocol):
    """A point in a stream."""

    def record(self, stream: CudaStream) -> None:
        """Place the event at the end of the stream's present entries."""

    def synchronize(self) -> None:
        """Block until the event is reached. Raises CudaError."""

    def ms_since(self, earlier: CudaEvent) -> float:
        """Return the milliseconds of GPU time between two events that were reached."""


class CudaGraph(Protocol):
    """Captured work that is launched as one."""

    def launch(self, stream: CudaStream) -> None: ...

    def close(self) -> None: ...


class Cuda(Protocol):
    """One GPU: memory, streams and events, all freed by `close`, except graphs."""

    def current(self) -> AbstractContextManager[None]:
        """Make the context current; every other call belongs into this block, in any thread."""

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Allocate a page-locked host array: only those are copied asynchronously."""

    def mapped(self, array: NDArray[Any]) -> int | None:
        """Return the GPU's address of a page-locked array where it shares memory with the host.

        None elsewhere: there, images and results are copied.
        """

    def memory(self, size: int) -> int:
        """Allocate `size` bytes on the GPU and return the address. Raises CudaError."""

    def stream(self) -> CudaStream: ...

    def event(self) -> CudaEvent: ...

    def upload(self, to: int, array: NDArray[Any], stream: CudaStream) -> None:
        """Queue a copy to the GPU; the array must not change until the copy is done."""

    def download(self, array: NDArray[Any], address: int, stream: CudaStream) -> None:
        """Queue a copy from the GPU."""

    def capture(self, stream: CudaStream, work: Callable[[], None]) -> CudaGraph:
        """Record what `work` queues as a graph, without running it. Raises CaptureRefused."""

    def close(self) -> None:
        """Wait for the GPU and free everything, after a failure as far as possible."""
