"""Videos whose sound is longer than their images."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge_ad.source import open_source


def frames_of(path: Path) -> list[object]:
    with open_source(str(path)) as source:
        return list(source)


def test_a_duration_of_the_sound_is_no_early_end(tmp_path: Path) -> None:
    """In fragments without a number of frames, OpenCV guesses 25 from the duration of the sound."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        images = container.add_stream("mpeg4", rate=25, width=64, height=48, pix_fmt="yuv420p")
        sound = container.add_stream("aac", rate=44100, layout="mono")
        for index in range(20):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), "bgr24")
            container.mux(images.encode(image))
        container.mux(images.encode(None))
        for index in range(43):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 44100, index * 1024
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 25
    assert len(frames_of(path)) == 20


@pytest.mark.slow
def test_a_given_duration_of_the_sound_is_no_early_end(shared: Path) -> None:
    path = shared / "data" / "videos" / "counter_conveyor.mp4"
    if not path.exists():
        pytest.skip(f"no {path.name} there")
    assert len(frames_of(path)) == 372  # OpenCV guesses 374 from the duration of the sound
