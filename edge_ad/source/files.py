"""Images and videos as grabs: every one is delivered, in order."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge_ad.errors import DataError, SourceLost
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import SUFFIXES, list_images, read_image, to_bgr8

_GIVE_UP = 60  # reads in a row without an image; decoding goes on after a damaged stretch
_log = logging.getLogger(__name__)


def open_folder(folder: Path, name: str) -> Iterator[Grab]:
    """The images directly in `folder`, by name; one that cannot be read is a BadFrame.

    Raises SourceLost when there are none, and after the last one when none could be read.
    """
    paths = list_images(folder)
    if not paths:
        raise SourceLost(
            f"{folder}: no images in it. Expected files ending in {', '.join(sorted(SUFFIXES))}."
        )
    return _images(paths, name)


def open_image(path: Path, name: str) -> Iterator[Grab]:
    """One image; otherwise like `open_folder`."""
    return _images([path], name)


def _images(paths: list[Path], name: str) -> Iterator[Grab]:
    reasons = []
    for index, path in enumerate(paths):
        grab = _image(path, index, name)
        if isinstance(grab, BadFrame):
            reasons.append(grab.reason)
        yield grab
    if len(reasons) == len(paths):
        raise SourceLost(
            f"{name}: none of the {len(paths)} images can be read. The first: {reasons[0]}"
        )


def _image(path: Path, index: int, name: str) -> Grab:
    try:
        image = read_image(path)
    except DataError as error:
        return BadFrame(str(error), index, time.monotonic(), name, path.name)
    return Frame(image, index, time.monotonic(), name, path.name)


def open_video(path: Path, name: str) -> Iterator[Grab]:
    """A video's frames. It ends with the last one that decodes, whatever the header promises.

    Frames before it that do not decode are BadFrames. Raises SourceLost when it cannot be opened,
    and at its end when no frame decoded. A shortfall against the header is logged.
    """
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise SourceLost(
            f"{path}: OpenCV cannot open it as a video. It may be cut off, not be a video, or "
            "need a codec this OpenCV lacks. Check it with a player, or record it again."
        )
    return _video_frames(capture, name)


def _video_frames(capture: cv2.VideoCapture, name: str) -> Iterator[Grab]:
    promised = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    decoded = missed = 0
    try:
        for index in itertools.count():
            read, image = capture.read()
            if not read and (index >= promised or missed == _GIVE_UP):
                break
            if not read:
                missed += 1
                continue
            for lost in range(index - missed, index):
                yield BadFrame("the frame does not decode", lost, time.monotonic(), name)
            yield Frame(to_bgr8(np.asarray(image), name), index, time.monotonic(), name)
            decoded, missed = decoded + 1, 0
        _check_count(name, decoded, promised)
    finally:
        capture.release()


def _check_count(name: str, decoded: int, promised: int) -> None:
    if not decoded:
        raise SourceLost(f"{name}: a video without a single frame that decodes.")
    if decoded < promised:
        _log.warning(
            "%s: its header promises %d frames, %d decoded; the file may be cut off",
            name,
            promised,
            decoded,
        )
