"""Read images and folders of images, and pass videos on: every frame is delivered, in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_ad.errors import DataError, SourceLost
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import (
    FOLDER,
    NAMED,
    SUFFIXES,
    ImageReader,
    ReadImage,
    find_depth,
    list_folder,
    named,
)
from edge_ad.source.base import SourceRequest
from edge_ad.source.video import open_video

_log = logging.getLogger(__name__)


def open_path(request: SourceRequest) -> Iterator[Grab]:
    """Open a video, an image or a folder of images. Raises SourceLost when it does not exist."""
    path = Path(request.uri.place)
    if path.is_dir():
        return FolderFrames(path, request)
    if not path.exists():
        raise SourceLost(f"{path}: no such file or folder. Check the name given with --camera.")
    if path.suffix.lower() in SUFFIXES:
        return _read_images([path], _reader([path], request), request.name)
    return open_video(request, path)


class FolderFrames(Iterator[Grab]):
    """The images directly in a folder, by name; an unreadable one becomes a BadFrame.

    `left_out` are the other entries, name to reason. Raises SourceLost when there are no images,
    and after the last one when none could be read.
    """

    def __init__(self, folder: Path, request: SourceRequest) -> None:
        from edge_ad.dataset.folders import split_masks  # a video needs no layouts of data sets

        listing = list_folder(folder)
        paths, masks = split_masks(listing.images)
        self.left_out = listing.left_out | {mask.name: "a mask beside its image" for mask in masks}
        if not paths:
            raise SourceLost(f"{folder}: no images in it. {_expected(self.left_out)}")
        self._grabs = _read_images(paths, _reader(paths, request), request.name)

    def __next__(self) -> Grab:
        return next(self._grabs)


def _expected(left_out: Mapping[str, str]) -> str:
    """Say what a folder without images should have: often its images lie one level below."""
    folders = [name for name, reason in left_out.items() if reason == FOLDER]
    if folders and len(folders) == len(left_out):
        return f"Folders below it are not read: name one of them ({', '.join(folders[:NAMED])})."
    others = f" Left out: {named(left_out)}." if left_out else ""
    return f"Expected files ending in {', '.join(sorted(SUFFIXES))}.{others}"


def _reader(paths: list[Path], request: SourceRequest) -> ReadImage:
    """Return the reader of the depth that is given, or found in the images."""
    depth = find_depth(paths, request.depth())
    if depth.bits > 8:
        _log.warning("%s: %s", request.name, depth)
    return ImageReader(depth)


def _read_images(paths: list[Path], read: ReadImage, name: str) -> Iterator[Grab]:
    reasons = []
    for index, path in enumerate(paths):
        grab = _read_image(path, read, index, name)
        if isinstance(grab, BadFrame):
            reasons.append(grab.reason)
        yield grab
    if len(reasons) == len(paths):
        raise SourceLost(
            f"{name}: none of the {len(paths)} images can be read. The first one: {reasons[0]}"
        )


def _read_image(path: Path, read: ReadImage, index: int, name: str) -> Grab:
    try:
        image = read(path)
    except DataError as error:
        return BadFrame(str(error), index, time.monotonic(), name, path.name)
    return Frame(image, index, time.monotonic(), name, path.name)
