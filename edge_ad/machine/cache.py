"""The user's folder for what can be computed again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `~/.cache/edge-ad`, or the one in `XDG_CACHE_HOME`; it may not exist.

    Raises OSError where the user has no home.
    """
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise FileNotFoundError(str(error)) from error
    return root / "edge-ad"
