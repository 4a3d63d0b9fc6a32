"""Write the two images of a drift side by side: how a camera saw parts before, and now."""

from __future__ import annotations

import hashlib
import logging
import re
import sqlite3
from dataclasses import replace as replaced
from pathlib import Path

import cv2
import numpy as np

from edge_ad.clock import now_utc
from edge_ad.errors import DataError
from edge_ad.files import write_bytes
from edge_ad.frame import Image
from edge_ad.images import encode_image, read_image, scaled
from edge_ad.store.event import StoreEvent, insert

_log = logging.getLogger(__name__)
_FOLDER = "drift"
_HEIGHT = 480
_KEPT = 200  # images of changes, those of the newest events
_IS_PAIR = re.compile(r"-\d{14}\.jpg$")


class DriftImages:
    """Images in the folder `drift` of a line's folder; its functions are jobs of the store.

    They write files in the store's thread, a few times a year.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep_first(
        self, connection: sqlite3.Connection, camera: str, image: Image, *, replace: bool
    ) -> None:
        """Keep an image as what the camera saw before; `replace` that of another engine."""
        path = self._first(camera)
        if path.exists() and not replace:
            return
        try:
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, encode_image(_shrunk(image), ".jpg"))
        except OSError as error:
            _log.warning("%s: cannot be written (%s)", path, error.strerror or error)

    def record(self, connection: sqlite3.Connection, event: StoreEvent, image: Image) -> None:
        """Add the event, with the two images side by side where they can be written."""
        moment = re.sub(r"\D", "", now_utc())[:14]
        name = f"{_FOLDER}/{_plain(event.camera)}-{event.kind}-{moment}.jpg"
        try:
            before = read_image(self._first(event.camera), 8)
            write_bytes(self._folder / name, encode_image(_side_by_side(before, image), ".jpg"))
        except (OSError, DataError) as error:
            _log.warning("%s: cannot be written (%s)", name, error)
            name = ""
        insert(connection, replaced(event, evidence=name))
        self._delete_old(connection)

    def _delete_old(self, connection: sqlite3.Connection) -> None:
        """Delete the images of changes beyond the newest 200: light may come and go for a year."""
        newest = connection.execute(
            "SELECT evidence FROM events WHERE type = 'drift' AND evidence IS NOT NULL "
            "ORDER BY seq DESC LIMIT ?",
            (_KEPT,),
        )
        kept = {self._folder / row[0] for row in newest}
        for path in (self._folder / _FOLDER).glob("*.jpg"):
            if path not in kept and _IS_PAIR.search(path.name):
                path.unlink(missing_ok=True)

    def _first(self, camera: str) -> Path:
        return self._folder / _FOLDER / f"{_plain(camera)}-before.jpg"


def _side_by_side(before: Image, now: Image) -> Image:
    left, right = _shrunk(before), _shrunk(now)
    height = max(left.shape[0], right.shape[0])
    padded = [
        cv2.copyMakeBorder(image, 0, height - image.shape[0], 0, 8, cv2.BORDER_CONSTANT)
        for image in (left, right)
    ]
    return np.concatenate(padded, axis=1)


def _shrunk(image: Image) -> Image:
    """Return the image with at most 480 rows."""
    height = image.shape[0]
    return image if height <= _HEIGHT else scaled(image, _HEIGHT / height)


def _plain(camera: str) -> str:
    """Return a camera's name as part of a file name, which no other camera has."""
    plain = re.sub(r"[^\w-]+", "_", camera).strip("_")[:80]
    if plain == camera:
        return plain
    return f"{plain}-{hashlib.sha256(camera.encode()).hexdigest()[:8]}"
