"""Read images and videos: every frame is delivered, in order."""

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
from edge_ad.source.base import SourceRequest

_GIVE_UP = 60  # failed reads in a row; decoding continues after a corrupt passage
_log = logging.getLogger(__name__)


def open_path(request: SourceRequest) -> Iterator[Grab]:
    """Open a video, an image or a folder of images. Raises SourceLost when it does not exist."""
    path = Path(request.uri.place)
    if path.is_dir():
        return open_folder(path, request.name)
    if not path.exists():
        raise SourceLost(f"{path}: no such file or folder. Check the name given with --camera.")
    if path.suffix.lower() in SUFFIXES:
        return _read_images([path], request.name)
    return open_video(path, request.name)


def open_folder(folder: Path, name: str) -> Iterator[Grab]:
    """Return the images directly in `folder`, by name; an unreadable one becomes a BadFrame.

    Raises SourceLost when there are none, and after the last one when none could be read.
    """
    paths = list_images(folder)
    if not paths:
        raise SourceLost(
            f"{folder}: no images in it. Expected files ending in {', '.join(sorted(SUFFIXES))}."
        )
    return _read_images(paths, name)


def _read_images(paths: list[Path], name: str) -> Iterator[Grab]:
    reasons = []
    for index, path in enumerate(paths):
        grab = _read_image(path, index, name)
        if isinstance(grab, BadFrame):
            reasons.append(grab.reason)
        yield grab
    if len(reasons) == len(paths):
        raise SourceLost(
            f"{name}: none of the {len(paths)} images can be read. The first one: {reasons[0]}"
        )


def _read_image(path: Path, index: int, name: str) -> Grab:
    try:
        image = read_image(path)
    except DataError as error:
        return BadFrame(str(error), index, time.monotonic(), name, path.name)
    return Frame(image, index, time.monotonic(), name, path.name)


def open_video(path: Path, name: str) -> Iterator[Grab]:
    """Return a video's frames, up to the last one that decodes.

    Frames before it that do not decode are BadFrames. Raises SourceLost when the video cannot be
    opened, and at its end when no frame decoded. A frame count below the header's is logged.
    """
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise SourceLost(
            f"{path}: OpenCV cannot open it as a video. It may be truncated, not a "
            "video, or need a codec that OpenCV lacks. Check it with a player, or record it again."
        )
    return _video_frames(capture, name)


def _video_frames(capture: cv2.VideoCapture, name: str) -> Iterator[Grab]:
    expected = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    decoded = missed = 0
    try:
        for index in itertools.count():
            read, image = capture.read()
            if not read and (index >= expected or missed == _GIVE_UP):
                break
            if not read:
                missed += 1
                continue
            for lost in range(index - missed, index):
                yield BadFrame("the frame does not decode", lost, time.monotonic(), name)
            yield Frame(to_bgr8(np.asarray(image), name), index, time.monotonic(), name)
            decoded, missed = decoded + 1, 0
        _check_count(name, decoded, expected)
    finally:
        capture.release()


def _check_count(name: str, decoded: int, expected: int) -> None:
    if not decoded:
        raise SourceLost(f"{name}: no frame of the video can be decoded.")
    if decoded < expected:
        _log.warning(
            "%s: the header says %d frames, %d decoded; the file may be truncated",
            name,
            expected,
            decoded,
        )
