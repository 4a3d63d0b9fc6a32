"""URIs and short forms of sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.errors import IncompatibleError, MissingExtra, SourceLost, UsageError
from edge_ad.source import open_source
from edge_ad.source.camera import csi_pipeline, with_appsink
from edge_ad.source.open import check_source, parse_uri
from edge_ad.uri import Uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Uri("v4l2", "/dev/video0")),
        ("12?width=1280&fps=30", Uri("v4l2", "/dev/video12", {"width": "1280", "fps": "30"})),
        ("v4l2:///dev/video3?format=MJPG", Uri("v4l2", "/dev/video3", {"format": "MJPG"})),
        ("rtsp://u:p@cam/a?b=c", Uri("rtsp", "rtsp://u:p@cam/a?b=c")),
        ("csi://1?flip=2", Uri("csi", "1", {"flip": "2"})),
        ("gst:videotestsrc ! appsink", Uri("gst", "videotestsrc ! appsink", separator=":")),
        ("pattern://?seed=4", Uri("pattern", "", {"seed": "4"})),
        ("/dev/null", Uri("v4l2", "/dev/null")),  # a device may have any name
        ("file:///data/a.mp4", Uri("file", "/data/a.mp4")),
        ("no such.mp4", Uri("file", "no such.mp4")),
    ],
)
def test_a_uri_or_short_form_is_split(text: str, expected: Uri) -> None:
    assert parse_uri(text) == expected


def test_files_are_missed_before_a_run_and_cameras_when_it_opens_them(tmp_path: Path) -> None:
    for uri in (f"{tmp_path}/none.mp4", f"file://{tmp_path}/none.mp4", f"watch:{tmp_path}/none"):
        with pytest.raises(SourceLost, match=r"none.*no such file or folder"):
            check_source(uri)
    for uri in (
        str(tmp_path),
        f"watch:{tmp_path}",
        f"v4l2://{tmp_path}/video9?bit_depth=16",
        "4242",
    ):
        check_source(uri)


def test_a_file_with_a_question_mark_in_its_name_is_a_file(tmp_path: Path) -> None:
    odd = tmp_path / "why?seed=1.png"
    odd.write_bytes(b"x")
    assert parse_uri(str(odd)) == Uri("file", str(odd))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("rtps://cam/1", "Did you mean rtsp"),
        ("ftp://x", "unknown camera scheme 'ftp:'.*The known ones are: v4l2://, .*gst:"),
        ("pattern://?sed=1", "Did you mean 'seed'"),
        ("pattern://?fps=fast", "must be a number"),
        ("pattern://?frames=1.5", "whole number"),
        ("pattern://?width=8", "at least 64"),
        ("pattern://?width=100000", "up to 4096"),
        ("pattern://?defects=2", "share from 0 to 1"),
        ("pattern://?kinds=hole", "unknown kind of defect 'hole'"),
        ("pattern://?faults=black", "NAME@FRAME"),
        ("pattern://?faults=black@9-3", "NAME@FIRST-LAST"),
        ("csi://front", "port number"),
        ("csi://\u0661", "port number"),
        ("csi://0?height=0", "at least 1"),
        ("v4l2:///dev/none?format=jpeg2000", "four letters"),
        ("v4l2:///dev/none?exposure=nan", "must be a number"),
        ("v4l2:///dev/none?width=wide", "must be a number"),
        ("v4l2:///dev/none?bit_depth=99", "8 to 16"),
        ("genicam://NONE?gain=high", "must be a number"),
        ("pylon://NONE?fps=-1", "at least 0"),
        ("watch:/none?settle_s=soon", "must be a number"),
        ("watch:/none?then=forget", "keep, delete or a folder"),
        ("watch:/tmp?then=/tmp", "another folder"),
        ("watch:/none?ledger=/none/of/it", "a file in a folder"),
        ("gst: ", "expects a pipeline"),
        ("rtsp://", "HOST"),
        ("rtsp://user:secret@cam:x/1", "rtsp://cam:x/1: expected rtsp://HOST"),
        ("rtsp://[cam/1", "HOST"),
        ("https://cam:99999/1", "HOST"),
        ("0?heigth=3", "Did you mean 'height'"),
        ("0?fps=5&fps=30", "option fps is there twice"),
        ("pattern://?seed=99999999999999999999", "at most 9"),
        ("watch:?then=delete", "the path is missing"),
        ("watch:/tmp?then=", "option then is empty"),
        ("file://", "the path is missing"),
        ("", "a camera is empty"),
    ],
)
def test_a_malformed_uri_is_a_usage_error(
    text: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.source.camera.has_gstreamer", lambda: True)
    monkeypatch.setattr("edge_ad.source.genicam.require_aravis", lambda: None)
    with pytest.raises(UsageError, match=hint):
        check_source(text)
    with pytest.raises(UsageError, match=hint):
        open_source(text)


def test_the_csi_pipeline_carries_the_options() -> None:
    pipeline = csi_pipeline(parse_uri("csi://1?width=1280&height=720&fps=60&flip=2"))
    for part in ("sensor-id=1", "width=1280,height=720,framerate=60/1", "flip-method=2"):
        assert part in pipeline
    assert pipeline.endswith("appsink drop=true max-buffers=1 sync=false")


def test_a_pipeline_without_an_appsink_gets_one() -> None:
    assert "format=BGR ! appsink" in with_appsink("videotestsrc !")
    assert with_appsink("videotestsrc ! appsink name=a") == "videotestsrc ! appsink name=a"


@pytest.mark.parametrize("uri", ["csi://0", "gst:videotestsrc"])
def test_without_gstreamer_the_error_says_what_to_install(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.source.camera.has_gstreamer", lambda: False)
    with pytest.raises(IncompatibleError, match="without GStreamer"):
        open_source(uri)


def test_without_pyav_a_network_camera_is_refused_before_it_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_ad.source.network.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"edge-ad\[video\]"):
        check_source("rtsp://cam/1")
