"""What an engine needs of a graphics card, whoever drives it.

`PyCuda` drives a real one. Everything above this seam (`_pipeline`) is tested on `FakeCuda`, which
keeps the same promises in host memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray

from edge_ad.errors import EdgeAdError


class CudaError(EdgeAdError):
    """A CUDA call was refused, or an earlier asynchronous one has failed."""


class CaptureRefused(Exception):
    """The work cannot become a graph; the message says why."""


class CudaStream(Protocol):
    """A queue of work on the card; entries run in order, queues run beside each other."""

    handle: int

    def wait(self, event: CudaEvent) -> None:
        """Let later entries wait until `event` has happened; returns at once."""

    def synchronize(self) -> None:
        """Block until the queue is empty. Raises CudaFailed."""


class CudaEvent(Protocol):
    """A mark in a stream."""

    def record(self, stream: CudaStream) -> None:
        """Mark the stream's present end."""

    def synchronize(self) -> None:
        """Block until the mark is reached. Raises CudaFailed."""

    def ms_since(self, earlier: CudaEvent) -> float:
        """Milliseconds on the card's clock between two marks that were reached."""


class CudaGraph(Protocol):
    """Captured work that is launched as one."""

    def launch(self, stream: CudaStream) -> None: ...

    def close(self) -> None: ...


class Cuda(Protocol):
    """One card: memory, queues and marks, all of them freed by `close`; graphs are their users'."""

    def current(self) -> AbstractContextManager[None]:
        """Every other call belongs into this block, in whichever thread."""

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """A page-locked host array: only such are copied asynchronously."""

    def memory(self, size: int) -> int:
        """The address of `size` bytes on the card. Raises CudaFailed when they are not there."""

    def stream(self) -> CudaStream: ...

    def event(self) -> CudaEvent: ...

    def upload(self, to: int, array: NDArray[Any], stream: CudaStream) -> None:
        """Queue a copy to the card; the array must stay as it is until the copy is done."""

    def download(self, array: NDArray[Any], address: int, stream: CudaStream) -> None:
        """Queue a copy from the card."""

    def capture(self, stream: CudaStream, work: Callable[[], None]) -> CudaGraph:
        """What `work` queues, as a graph; nothing runs. Raises CaptureRefused."""

    def close(self) -> None:
        """Wait for the card and free everything, after a failure as far as that goes."""
