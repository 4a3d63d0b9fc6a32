"""Words for figures."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return like "1 part" or "3 parts"."""
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
