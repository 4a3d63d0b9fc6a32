"""Names of cameras that have none."""

from __future__ import annotations

from edge_ad.source.named import NamedSource, name_sources


def test_no_two_cameras_have_one_name() -> None:
    given = ["x#2", "x", "x", "top=x", "x"]
    sources = [NamedSource(*text.rpartition("=")[::2]) for text in given]
    names = [source.name for source in name_sources(sources)]
    assert names == ["x#2", "x", "x#3", "top", "x#4"]
    assert [source.uri for source in name_sources(sources)] == ["x#2", "x", "x", "x", "x"]
