"""Basler's own emulated cameras, through pypylon."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("PYLON_CAMEMU", "2")  # before pypylon is imported
pytest.importorskip("pypylon", reason="pypylon is not installed (the extra pylon)")

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import Frame, pixels_of
from edge_ad.source import Source, open_source
from edge_ad.source import pylon as pylon_source
from edge_ad.source.base import SourceRequest
from edge_ad.source.open import parse_uri, presence

pytestmark = pytest.mark.timeout(60)
SERIAL = "0815-0000"


@pytest.fixture
def only(request: pytest.FixtureRequest) -> Iterator[Source]:
    with open_source(f"pylon://{SERIAL}?{request.param}", timeout_s=10) as source:
        yield source


def take(source: Source, count: int) -> list[Frame]:
    grabs = list(itertools.islice(source, count))
    assert all(isinstance(grab, Frame) for grab in grabs), grabs
    return grabs  # type: ignore[return-value]


@pytest.mark.parametrize("only", ["format=Mono8&exposure=1000&gain=2&fps=30"], indirect=True)
def test_an_emulated_camera_delivers_its_newest_frames(only: Source) -> None:
    frames = take(only, 5)
    assert only.live and frames[0].image.shape == (1040, 1024, 3)
    assert pixels_of(frames[0].image).ndim == 2, "grey comes as one plane"
    numbers = [frame.index for frame in frames]
    assert numbers == sorted(set(numbers))
    assert len({frame.image.tobytes() for frame in frames}) == 5, "the test image moves"


@pytest.mark.parametrize("only", ["format=BayerRG8", "format=BGR8Packed"], indirect=True)
def test_colour_formats_become_bgr(only: Source) -> None:
    (frame,) = take(only, 1)
    assert frame.image.shape == (1040, 1024, 3) and frame.image.dtype == np.uint8


@pytest.mark.parametrize("only", ["format=Mono12"], indirect=True)
def test_deep_grey_is_read_with_the_depth_of_its_format(only: Source) -> None:
    (frame,) = take(only, 1)
    assert frame.image.max() > 128, "the upper eight of twelve bits"


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("pylon://4711", SourceLost, f"no such Basler camera. Serial numbers here: {SERIAL}"),
        ("pylon://", SourceLost, "no such Basler camera"),
        (f"pylon://{SERIAL}?format=Mono7", UsageError, "format=Mono7 is refused: it has Mono8, "),
        (f"pylon://{SERIAL}?exposure=1e9", UsageError, "exposure must be a number"),
        (f"pylon://{SERIAL}?exposure=999999999", UsageError, "is refused: it takes"),
    ],
)
def test_what_is_wrong_is_said(uri: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_source(uri)


def test_a_camera_that_is_removed_while_it_opens_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = "edge_ad.source.pylon.pylon.InstantCamera.IsCameraDeviceRemoved"
    monkeypatch.setattr(removed, lambda _: True)
    for _ in range(2):  # it is released
        with pytest.raises(SourceLost, match="removed while it opened"):
            open_source(f"pylon://{SERIAL}?format=Mono7")


def test_a_camera_in_use_is_lost_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class InUse:  # an emulated camera may be opened twice
        def __init__(self, device: object) -> None: ...

        def Open(self) -> None:
            from pypylon import genicam

            raise genicam.RuntimeException("It is controlled by another one. : thrown")

    monkeypatch.setattr("edge_ad.source.pylon.pylon.InstantCamera", InUse)
    reason = r"0815-0000 does not open: It is controlled by another one\. Another program may"
    with pytest.raises(SourceLost, match=reason):
        open_source(f"pylon://{SERIAL}")


def test_a_camera_is_free_when_closed() -> None:
    with open_source(f"pylon://{SERIAL}") as source:
        take(source, 1)
    with open_source(f"pylon://{SERIAL}") as source:
        take(source, 1)


def test_a_camera_that_answers_is_there() -> None:
    for uri, there in ((f"pylon://{SERIAL}", True), ("pylon://", True), ("pylon://4711", False)):
        ask = presence(uri)
        assert ask is not None and ask() is there


def test_a_triggered_camera_waits_for_its_signal_for_any_time_and_queues_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pypylon import pylon

    cameras: list[Any] = []
    make = pylon.InstantCamera

    def made(device: Any) -> Any:
        cameras.append(make(device))
        return cameras[-1]

    monkeypatch.setattr(pylon, "InstantCamera", made)
    with open_source(f"pylon://{SERIAL}?trigger=Software", timeout_s=0.01) as source:
        signals = threading.Timer(0.3, _fire, [cameras, 3])
        signals.start()
        frames = take(source, 3)
        signals.join()
    assert [frame.index for frame in frames] == [0, 1, 2] and source.dropped == 0
    with pytest.raises(UsageError, match=r"trigger=Line9 is refused: it has Software, Line1"):
        open_source(f"pylon://{SERIAL}?trigger=Line9")


def test_a_camera_that_somebody_set_to_wait_for_a_trigger_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from pypylon import pylon

    camera = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateFirstDevice())
    camera.Open()
    request = SourceRequest(parse_uri("pylon://"), "pylon://")
    pylon_source._set_trigger(camera.GetNodeMap(), request)
    assert not caplog.messages
    camera.TriggerSource.Value, camera.TriggerMode.Value = "Line1", "On"
    pylon_source._set_trigger(camera.GetNodeMap(), request)
    camera.Close()
    assert "Write trigger=Line1" in caplog.text


def _fire(cameras: list[Any], times: int) -> None:
    for _ in range(times):
        assert cameras[0].WaitForFrameTriggerReady(5000)
        cameras[0].TriggerSoftware.Execute()
