"""Names of cameras, and of those that have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.source.named import NamedSource, name_sources, split_name


def test_no_two_cameras_have_one_name() -> None:
    given = ["x#2", "x", "x", "top=x", "x"]
    sources = [NamedSource(*text.rpartition("=")[::2]) for text in given]
    names = [source.name for source in name_sources(sources)]
    assert names == ["x#2", "x", "x#3", "top", "x#4"]
    assert [source.uri for source in name_sources(sources)] == ["x#2", "x", "x", "x", "x"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("top=rtsp://10.0.0.5/live", "top"),
        ("left.2=parts/a=b.png", "left.2"),
        ("rtsp://10.0.0.5/live?channel=1", ""),
        ("gst:v4l2src device=/dev/video0", ""),
        ("parts/line=2/", ""),
        ("parts", ""),
    ],
)
def test_a_name_stands_before_the_first_equals_sign_of_a_uri(text: str, name: str) -> None:
    assert split_name(text) == NamedSource(name, text.removeprefix(f"{name}=") if name else text)


def test_a_file_with_an_equals_sign_is_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_name("a=b.png") == NamedSource("a", "b.png")
    Path("a=b.png").touch()
    assert split_name("a=b.png") == NamedSource("", "a=b.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top=", "'top=' has a name and no URI"),
        ("=0", "camera '' in '=0': that is not a valid name"),
        ("the top=0", "camera 'the top' in 'the top=0'"),
        ("a/b=rtsp://me:secret@10.0.0.5/live", "camera 'a/b' in 'a/b=rtsp://10.0.0.5/live'"),
    ],
)
def test_what_is_no_name_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split_name(text)
