"""The window of `edge-ad run --show`, without one."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ad.cli.console import Window
from edge_ad.frame import Image
from edge_ad.inspection import Inspection, Region, Verdict
from edge_ad.outlet.base import Evidence

REJECT = Inspection(Verdict.REJECT, 2.0, 0.5, regions=(Region(40, 40, 10, 10, 100, 2.0, (45, 45)),))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Return what windows show, on a computer that has them."""
    images: list[Image] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  GUI:                GTK3\n\n")
    monkeypatch.setattr("cv2.imshow", lambda title, image: images.append(image))
    monkeypatch.setattr("cv2.waitKey", lambda delay_ms: -1)
    return images


def test_the_newest_frame_is_shown_once_with_its_verdict(shown: list[Image]) -> None:
    window = Window()
    assert not window.closed_by_user() and shown == []
    frames = [np.full((64, 320, 3), grey, np.uint8) for grey in (0, 100)]
    for frame in frames:
        window.inspected(REJECT, Evidence(frame))
    window.inspected(REJECT, Evidence())  # INVALID: there is none
    assert not window.closed_by_user() and not window.closed_by_user()
    (image,) = shown
    assert np.median(image) == 100 and image[:30].max() > 200, "the newest, with a text"
    assert (image[35:55, 35:55] != 100).any() and (frames[1] == 100).all(), "drawn on a copy"


@pytest.mark.parametrize(("key", "ends"), [(ord("q"), True), (27, True), (ord("w"), False)])
@pytest.mark.usefixtures("shown")
def test_q_and_escape_end_the_run(key: int, monkeypatch: pytest.MonkeyPatch, *, ends: bool) -> None:
    monkeypatch.setattr("cv2.waitKey", lambda delay_ms: key | 0x100000)  # with NumLock
    assert Window().closed_by_user() is ends
