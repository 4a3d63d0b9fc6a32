"""A URI to the source that delivers its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_ad.errors import SourceLost
from edge_ad.frame import Grab
from edge_ad.images import SUFFIXES
from edge_ad.source.base import Source
from edge_ad.source.buffered import BufferedSource
from edge_ad.source.files import open_folder, open_image, open_video
from edge_ad.source.uri import Uri, parse_uri, without_credentials


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to open a source; `hold` keeps it from starting before somebody takes frames."""

    opener: Callable[[], Iterator[Grab]]
    live: bool
    hold: bool = False


def open_source(uri: str, *, timeout_s: float = 10.0, open_within_s: float = 15.0) -> Source:
    """Open a camera, video, image, folder of images or the synthetic line; use it with `with`.

    `timeout_s` bounds the wait for each frame, `open_within_s` the wait for the device. Raises
    SourceLost for what is not there or does not open, UsageError for a URI that cannot be meant.
    """
    name = without_credentials(uri)
    plan = _plan(parse_uri(uri), name, timeout_s, open_within_s)
    return BufferedSource(
        name,
        plan.opener,
        live=plan.live,
        hold=plan.hold,
        timeout_s=timeout_s,
        open_within_s=open_within_s,
    )


def _plan(uri: Uri, name: str, timeout_s: float, open_within_s: float) -> _Plan:
    if uri.scheme == "file":
        return _Plan(partial(_open_path, Path(uri.place), name), live=False)
    if uri.scheme == "pattern":
        return _plan_pattern(uri, name)
    from edge_ad.source import camera  # files and the pattern need none of it

    if uri.scheme == "v4l2":
        return _Plan(partial(camera.open_v4l2, uri, name), live=True)
    if uri.scheme == "csi":
        return _Plan(partial(camera.open_csi, uri, name), live=True)
    if uri.scheme == "gst":
        return _Plan(partial(camera.open_pipeline, uri.place, name), live=True)
    waits = {"timeout_s": timeout_s, "open_within_s": open_within_s}
    return _Plan(partial(camera.open_network, uri, name, **waits), live=True)


def _plan_pattern(uri: Uri, name: str) -> _Plan:
    from edge_ad.source.synthetic import open_pattern, parse_pattern

    pattern = parse_pattern(uri)
    return _Plan(partial(open_pattern, pattern, name), live=pattern.fps > 0, hold=True)


def _open_path(path: Path, name: str) -> Iterator[Grab]:
    if path.is_dir():
        return open_folder(path, name)
    if not path.exists():
        raise SourceLost(f"{path}: no such file or folder. Check the name given with --camera.")
    if path.suffix.lower() in SUFFIXES:
        return open_image(path, name)
    return open_video(path, name)
