"""Disk storage for the anomaly maps of a data set, which need not fit in memory."""

from __future__ import annotations

import mmap
import tempfile
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge_ad.errors import OutletLost

_T = TypeVar("_T", bound=np.generic)
_BLOCK = 1 << 26  # bytes mapped at once: each memory map keeps a file descriptor open
_PAGE = mmap.ALLOCATIONGRANULARITY
_ALIGNED = 64  # bytes


class DiskBackedArrays:
    """Store arrays in a temporary file and return them as read-only views of it.

    The file is deleted with the last view; pages that are not read cost no memory. Raises
    OutletLost when the temporary folder is full.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="edge-ad-")
        except OSError as error:
            raise _full(error) from error
        self._end, self._begin = 0, 0
        self._map: mmap.mmap | None = None

    def put(self, array: NDArray[_T]) -> NDArray[_T]:
        """Store a copy and return it; the view stays valid after `close`."""
        data = np.ascontiguousarray(array)
        try:
            block = self._block(data.nbytes)
            start = self._end
            self._file.seek(start)
            self._file.write(data.data)
            self._file.flush()
        except OSError as error:
            raise _full(error) from error
        self._end = _rounded_up(start + data.nbytes, _ALIGNED)
        view: NDArray[_T] = np.ndarray(data.shape, data.dtype, block, start - self._begin)
        return view

    def _block(self, size: int) -> mmap.mmap:
        """Return the map of the file's end, where there is room for an array of `size` bytes."""
        if self._map is None or self._end + size > self._begin + len(self._map):
            self._begin = self._end = _rounded_up(self._end, _PAGE)
            length = max(_BLOCK, size)
            self._file.truncate(self._begin + length)  # a hole: takes no space until written
            self._map = mmap.mmap(
                self._file.fileno(), length, access=mmap.ACCESS_READ, offset=self._begin
            )
        return self._map

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rounded_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _full(error: OSError) -> OutletLost:
    return OutletLost(
        f"{tempfile.gettempdir()}: cannot store anomaly maps there ({error.strerror}). "
        "Free some space, or set the environment variable TMPDIR to another folder."
    )
