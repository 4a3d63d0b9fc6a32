"""Cameras that are back, that are away, and servers that only seem to be there."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from edge_ad.source.open import presence
from tests.source.rtsp_server import RtspCamera, serving
from tests.timing import LIMIT_S


def is_there(uri: str) -> bool:
    ask = presence(uri)
    assert ask is not None
    return ask()


def test_a_server_that_answers_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.source.presence._WITHIN_S", LIMIT_S)
    with serving(RtspCamera(frames=1)) as camera:
        assert is_there(f"rtsp://me:secret@127.0.0.1:{camera.port}/live")


def test_a_port_that_is_closed_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not is_there(f"rtsp://127.0.0.1:{port}/live")
    assert not is_there("http://127.0.0.1:99999/live")


def test_a_server_that_accepts_and_does_not_answer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.source.presence._WITHIN_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not is_there(f"http://127.0.0.1:{silent.getsockname()[1]}/video")


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("rtsp://me:secret@camera/live", ("camera", 554)),
        ("rtsps://camera/live", ("camera", 322)),
        ("http://camera/video", ("camera", 80)),
        ("https://camera/video", ("camera", 443)),
        ("http://camera:8080/video", ("camera", 8080)),
    ],
)
def test_a_server_is_asked_at_the_usual_port_of_its_scheme(
    monkeypatch: pytest.MonkeyPatch, uri: str, address: tuple[str, int]
) -> None:
    asked: list[tuple[str, int]] = []

    def refuse(place: tuple[str, int], within_s: float) -> None:
        asked.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr("edge_ad.source.presence.socket.create_connection", refuse)
    assert not is_there(uri) and asked == [address]


def test_a_device_is_there_with_its_file(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    assert not is_there(f"v4l2://{device}")
    device.touch()
    assert is_there(f"v4l2://{device}")


def test_a_driver_that_fails_at_the_question_ends_no_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(place: str, mode: int) -> bool:
        raise RuntimeError("the transport layer is gone")

    ask = presence(f"v4l2://{tmp_path}/video0")
    monkeypatch.setattr("edge_ad.source.presence.os.access", fail)
    assert ask is not None and not ask()


def test_files_need_no_question() -> None:
    before = threading.active_count()
    assert presence("parts/") is None and threading.active_count() <= before
