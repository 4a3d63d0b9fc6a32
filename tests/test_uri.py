"""Parts of URIs, and credentials that must not be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.errors import MissingExtra, UsageError
from edge_ad.uri import Uri, UriKind, listen_address, split_uri, without_credentials


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("a://b/c?d=1&e=", Uri("a", "b/c", {"d": "1", "e": ""})),
        ("a://", Uri("a", "")),
    ],
)
def test_options_are_split_off(text: str, uri: Uri) -> None:
    assert split_uri(text, "options") == uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_addresses_to_listen_on(text: str, expected: tuple[str, int]) -> None:
    assert listen_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "localhost", "localhost:", "localhost:http", "1:70000", "9" * 5000, "[]:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an address to listen on"):
        listen_address(text)


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


@given(user=st.from_regex(r"[a-z]{1,8}", fullmatch=True), word=st.text("abc#/:?@&!", min_size=6))
def test_no_password_of_an_rtsp_camera_survives(user: str, word: str) -> None:
    assert without_credentials(f"rtsp://{user}:{word}@10.0.0.9/live") == "rtsp://10.0.0.9/live"
