"""Parts of URIs, and credentials that must not be shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.errors import MissingExtra
from edge_ad.uri import Uri, UriKind, split_uri, with_hidden_credentials, without_credentials


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("a://b/c?d=1&e=", Uri("a", "b/c", {"d": "1", "e": ""})),
        ("a://", Uri("a", "")),
        ("a://b?path=%FF", Uri("a", "b", {"path": "\udcff"})),
    ],
)
def test_options_are_split_off(text: str, uri: Uri) -> None:
    assert split_uri(text, "options") == uri


def test_a_missing_package_names_its_extra() -> None:
    kind = UriKind(
        schemes=("x",), example="x:", description="", opener="surely_absent:f", extra="wire"
    )
    with pytest.raises(MissingExtra, match=r"surely_absent.*edge-ad\[wire\]"):
        kind.load_opener()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://admin:secret@cam:554/main", "rtsp://cam:554/main"),
        ("rtsp://admin:s/e@c@cam/main", "rtsp://cam/main"),
        ("rtsp://cam/main?user=admin&password=secret", "rtsp://cam/main?user=***&password=***"),
        ("rtsp://cam/main?pw=my secret&x=1#pwd=secret", "rtsp://cam/main?pw=***&x=1#pwd=***"),
        ("top=rtsp://admin:secret@cam/main", "top=rtsp://cam/main"),
        ("RTSP://admin:secret@cam/main", "RTSP://cam/main"),
        ("exec:notify a:b@c --token secret now", "exec:notify a:b@c --token *** now"),
        (
            "gst:rtspsrc location=rtsp://a:secret@cam user-pw=secret ! appsink",
            "gst:rtspsrc location=rtsp://cam user-pw=*** ! appsink",
        ),
        ("pattern://?faults=black@3", "pattern://?faults=black@3"),
        ("out/me@home.mp4", "out/me@home.mp4"),
    ],
)
def test_credentials_never_reach_a_name(text: str, expected: str) -> None:
    assert without_credentials(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top=rtsp://admin:secret@cam/main", "top=rtsp://***@cam/main"),
        ("rtsp://admin:${ENV:A}@cam/main", "rtsp://admin:${ENV:A}@cam/main"),
        ("https://h/a#secret=${FILE:s}&bearer=b", "https://h/a#secret=${FILE:s}&bearer=***"),
        ("out/me@home.mp4", "out/me@home.mp4"),
    ],
)
def test_a_command_is_shown_with_its_references(text: str, expected: str) -> None:
    assert with_hidden_credentials(text) == expected


@settings(deadline=None)
@given(user=st.from_regex(r"[a-z]{1,8}", fullmatch=True), word=st.text("abc#/:?@&! ", min_size=6))
def test_no_password_of_an_rtsp_camera_survives(user: str, word: str) -> None:
    assert without_credentials(f"rtsp://{user}:{word}@10.0.0.9/live") == "rtsp://10.0.0.9/live"
