"""Give memory back to the system."""

from __future__ import annotations

import ctypes


def return_freed_memory() -> None:
    """Return what is freed but kept by the C library; only glibc can. Takes milliseconds.

    Loading a graph frees several times its weights, of which glibc keeps tens of MiB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
