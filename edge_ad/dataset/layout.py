"""A layout: how a data set's folders and files say what is normal, anomalous and marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_ad.dataset.sample import Listing


@dataclass(frozen=True)
class Layout:
    """One way to arrange a data set.

    `matches` looks at names only; `read` lists the files and may decode masks where they alone say
    which image is normal. `tree` is shown when a folder differs, a line for each kind of file.
    """

    name: str
    title: str
    tree: str
    matches: Callable[[Path], bool]
    read: Callable[[Path], Listing]
    aliases: tuple[str, ...] = ()
