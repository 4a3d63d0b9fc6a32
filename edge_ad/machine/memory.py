"""Keep little memory that is free."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # glibc's malloc.h
_ARENAS = 2


def return_freed_memory() -> None:
    """Return what is freed but kept by the C library; only glibc can. Takes milliseconds.

    Loading a graph frees several times its weights, of which glibc keeps tens of MiB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def share_heaps() -> None:
    """Let all threads allocate from two heaps; only glibc has more. Call it before there are many.

    By default it has up to eight for each core, and a thread uses any of them: frames that are long
    freed would fill them all, one after the other.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
