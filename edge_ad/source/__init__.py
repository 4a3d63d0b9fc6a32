"""Sources of frames: cameras, videos, images and the synthetic line.

    with open_source("0") as source:
        for grab in source:  # Frame | BadFrame
            ...

`registry.CAMERAS` lists the URIs. Names are imported on first use, so that the list is available
without OpenCV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_ad.source.base import ScriptedSource, Source
    from edge_ad.source.open import open_source

__all__ = ["ScriptedSource", "Source", "open_source"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edge_ad.source import base, open

    return getattr(open if name == "open_source" else base, name)
