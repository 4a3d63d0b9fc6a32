"""Secrets by reference: where they come from, how they are encoded, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.secret import in_folder, with_secrets
from edge_ad.source.open import open_source, parse_uri


def test_a_secret_within_a_uri_is_percent_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "p@ss/w:rd")
    text = "rtsp://line:${ENV:CAMERA_PASSWORD}@10.0.0.5/stream"
    assert with_secrets(text) == "rtsp://line:p%40ss%2Fw%3Ard@10.0.0.5/stream"
    assert parse_uri(text).place.startswith("rtsp://line:p%40ss")


def test_a_secret_that_is_the_whole_text_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA", "rtsp://line:p%40ss@10.0.0.5/stream")
    assert with_secrets("${ENV:CAMERA}") == "rtsp://line:p%40ss@10.0.0.5/stream"


def test_a_file_ends_with_its_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\r\n", encoding="utf-8")
    text = in_folder("https://h/?key=${FILE:password}", tmp_path)
    assert with_secrets(text) == "https://h/?key=s3cret"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rtsp://a:${ENV:EDGE_AD_NO_SUCH}@h", "no variable EDGE_AD_NO_SUCH"),
        ("rtsp://a:${env:X}@h", "is not a reference"),
        ("rtsp://a:${ENV:1 2}@h", "is not the name of a variable"),
        ("rtsp://a:${ENV:X@h", "is not a reference"),
        ("${FILE:/nowhere/secret}", "No such file"),
        ("${FILE:}", "cannot be read"),
        ("${ENV:EDGE_AD_EMPTY}", "is empty"),
        ("${ENV:EDGE_AD_LINES}", "more than one line"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("EDGE_AD_EMPTY", "")
    monkeypatch.setenv("EDGE_AD_LINES", "a\nb")
    with pytest.raises(UsageError, match=message):
        with_secrets(text)


def test_a_sources_name_has_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", str(tmp_path))
    with open_source("watch:${ENV:WHERE}") as source:
        assert source.name == "watch:${ENV:WHERE}"
