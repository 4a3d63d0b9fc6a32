"""A URI to the source that delivers its frames."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edge_ad.errors import SourceLost
from edge_ad.frame import Grab
from edge_ad.images import SUFFIXES
from edge_ad.source._files import open_folder, open_picture, open_video
from edge_ad.source.base import Source
from edge_ad.source.buffered import BufferedSource
from edge_ad.source.uri import check_options, parse_uri, without_credentials


def open_source(uri: str, *, timeout_s: float = 10.0, open_within_s: float = 15.0) -> Source:
    """Open a camera, video, picture, folder of pictures or the synthetic line; use it with `with`.

    `timeout_s` bounds the wait for each frame, `open_within_s` the wait for the device. Raises
    SourceLost for what is not there or does not open, UsageError for a URI that cannot be meant.
    """
    parsed = parse_uri(uri)
    name = without_credentials(uri)
    opening = {"timeout_s": timeout_s, "open_within_s": open_within_s}
    check_options(parsed, ())
    return BufferedSource(name, partial(_open_path, Path(parsed.place)), live=False, **opening)


def _open_path(path: Path) -> Iterator[Grab]:
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise SourceLost(f"{path}: no such file or folder. Check the name given with --camera.")
    return open_picture(path) if path.suffix.lower() in SUFFIXES else open_video(path)
