"""Read recordings made with numpy: one array uint8 (N, H, W, 3), BGR."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_ad.errors import SourceLost
from edge_ad.frame import Frame, Grab
from edge_ad.source.base import SourceRequest
from edge_ad.uri import whole_number


def open_recording(request: SourceRequest) -> Iterator[Grab]:
    """Open `npy:///PATH`. Raises SourceLost when it does not exist."""
    path, every = Path(request.uri.place), whole_number(request.uri, "every", 1, least=1)
    if not path.exists():
        raise SourceLost(f"{path}: no such file. Check the name given with --camera.")
    images = np.load(path, mmap_mode="r")
    return (
        Frame(np.asarray(images[index]), index, time.monotonic(), request.name)
        for index in range(0, len(images), every)
    )
