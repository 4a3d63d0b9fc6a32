"""Open the source that a URI or short form names."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import Grab
from edge_ad.images import BitDepth
from edge_ad.secret import in_folder, with_secrets
from edge_ad.source.base import Source, SourceRequest
from edge_ad.source.buffered import TRIGGERED_AHEAD, BufferedSource
from edge_ad.source.isolated import open_isolated
from edge_ad.source.registry import CAMERAS, CameraKind, camera_kind, find_camera
from edge_ad.uri import Uri, without_credentials

_log = logging.getLogger(__name__)
_SCHEME = re.compile(
    "|".join(kind.prefixes[0] for kind in CAMERAS if kind.syntax in {"path", "text"}) + "|[^:/]+://"
)


def open_source(
    uri: str,
    *,
    timeout_s: float = 10.0,
    open_within_s: float = 15.0,
    bit_depth: BitDepth | None = None,
    isolated: bool = False,
) -> Source:
    """Open a camera, video, image, folder of images or the synthetic line; use it with `with`.

    `timeout_s` limits the wait for each frame, unless the kind waits without limit, and
    `open_within_s` that for the device. `bit_depth` is the one that values of 16 bits are read
    with; None finds that of a folder. Raises SourceLost for a source that does not exist or does
    not open, UsageError for a malformed URI, IncompatibleError for a package that is missing. An
    `isolated` live source runs in a separate process.
    """
    parsed = parse_uri(uri)
    kind, name = find_camera(parsed.scheme), without_credentials(uri)
    closed = threading.Event()
    request = SourceRequest(parsed, name, timeout_s, open_within_s, bit_depth, closed)
    live = kind.is_live(parsed)
    _check(request, kind)
    opener = open_isolated if isolated and live else kind.load_opener()
    return BufferedSource(
        name,
        partial(opener, request),
        live=live,
        hold=kind.starts_late,
        timeout_s=None if kind.waits or kind.is_triggered(parsed) else timeout_s,
        queued=TRIGGERED_AHEAD if kind.is_triggered(parsed) else None,
        open_within_s=open_within_s,
        closed=closed,
    )


def open_grabs(uri: str) -> Iterator[Grab]:
    """Open a source without a thread: each frame is read when it is asked for.

    For measuring, and for files; a camera that hangs would hang its caller.
    """
    request = SourceRequest(parse_uri(uri), without_credentials(uri))
    kind = find_camera(request.uri.scheme)
    _check(request, kind)
    grabs: Iterator[Grab] = kind.load_opener()(request)
    return grabs


def is_live(uri: str) -> bool:
    """Return whether the source at `uri` delivers its newest frame only, without opening it."""
    parsed = parse_uri(uri)
    return find_camera(parsed.scheme).is_live(parsed)


def is_triggered(uri: str) -> bool:
    """Return whether the camera at `uri` is triggered itself, so that each frame is a part."""
    parsed = parse_uri(uri)
    return find_camera(parsed.scheme).is_triggered(parsed)


def waits(uri: str) -> bool:
    """Return whether the source at `uri` may be without a frame for any time."""
    return find_camera(parse_uri(uri).scheme).waits


def presence(uri: str) -> Callable[[], bool] | None:
    """Return a cheap question whether the camera at `uri` is there, None where there is none."""
    parsed = parse_uri(uri)
    ask = find_camera(parsed.scheme).load_presence()
    return partial(_is_there, ask, parsed) if ask else None


def _is_there(ask: Callable[[Uri], bool], uri: Uri) -> bool:
    """Return whether a camera is there; one whose driver fails at the question has to wait."""
    try:
        return ask(uri)
    except Exception as error:
        _log.debug("%s: whether it is there is not known", uri, exc_info=error)
        return False


def camera_in_folder(text: str, folder: Path) -> str:
    """Return a source's URI or short form whose relative paths are relative to `folder`."""
    text = in_folder(text, folder)
    if (folder / text).exists():
        return str(folder / text)
    if re.fullmatch(r"\d+(\?.*)?", text) or text.startswith("${"):
        return text
    match = _SCHEME.match(text)
    if not match:
        return str(folder / text)
    kind = camera_kind(match[0].rstrip(":/"))
    return kind.in_folder(text, folder) if kind else text


def check_source(uri: str) -> None:
    """Raise what `open_source` would raise for this URI before it opens a device.

    Files and folders must exist; whether a camera is there is not asked.
    """
    request = SourceRequest(parse_uri(uri), without_credentials(uri))
    kind = find_camera(request.uri.scheme)
    _check(request, kind)
    kind.load_opener()
    if kind.place_is_path and not Path(request.uri.place).exists():
        raise SourceLost(f"{request.name}: no such file or folder.")


def _check(request: SourceRequest, kind: CameraKind) -> None:
    """Raise what is wrong with the options, also for a camera that is not there yet."""
    kind.check(request.uri)
    request.depth()


def parse_uri(text: str) -> Uri:
    """Split a URI or short form, with the secrets that it refers to.

    Raises UsageError for an unknown scheme or option.
    """
    text = with_secrets(text)
    if not text:  # it would mean the current folder
        raise UsageError("a camera is empty. Expected a number, a file, a folder or a URI.")
    if os.path.exists(text):  # first, since a file may have any name, such as 'a?b.png' or 20261128
        return Uri("v4l2" if Path(text).is_char_device() else "file", text)
    if re.fullmatch(r"\d+(\?.*)?", text):
        return find_camera("v4l2").parse(f"v4l2:///dev/video{text}")
    match = _SCHEME.match(text)
    if not match:
        return Uri("file", text)
    return find_camera(match[0].rstrip(":/")).parse(text)
