"""Pixels of videos, which must not depend on the machine."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import edge_ad
from edge_ad.frame import Frame
from edge_ad.source import open_source

SAMPLE = Path(edge_ad.__file__).parent / "sample"


def test_a_video_has_the_same_pixels_on_every_processor() -> None:
    """The digest was computed on x86-64 and on aarch64, with and without vector instructions."""
    digest = hashlib.sha256()
    with open_source(str(SAMPLE / "footage.mp4")) as source:
        for grab in itertools.islice(source, 12):
            assert isinstance(grab, Frame)
            digest.update(grab.image.tobytes())
    assert digest.hexdigest().startswith("0275adc8c50e")
