"""Disk storage for the anomaly maps of a data set, which need not fit in memory."""

from __future__ import annotations

import tempfile
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge_ad.errors import OutletLost

_T = TypeVar("_T", bound=np.generic)
_PAGE = 4096  # a memory map begins on a page


class DiskBackedArrays:
    """Store arrays in a temporary file and return them as read-only memory maps.

    The file is deleted with the last map; pages that are not read cost no memory. Raises OutletLost
    when the temporary folder is full.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="edge-ad-")
        except OSError as error:
            raise _full(error) from error
        self._end = 0

    def put(self, array: NDArray[_T]) -> NDArray[_T]:
        """Store a copy and return it; the map stays valid after `close`."""
        start = self._end
        try:
            self._file.seek(start)
            self._file.write(np.ascontiguousarray(array).data)
            self._file.flush()
        except OSError as error:
            raise _full(error) from error
        self._end = -(-(start + array.nbytes) // _PAGE) * _PAGE
        return np.memmap(self._file, array.dtype, "r", start, array.shape)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _full(error: OSError) -> OutletLost:
    return OutletLost(
        f"{tempfile.gettempdir()}: cannot store anomaly maps there ({error.strerror}). "
        "Free some space, or set the environment variable TMPDIR to another folder."
    )
