"""Nouns in the singular and in the plural."""

from __future__ import annotations

from edge_ad.wording import counted


def test_one_is_singular_and_none_is_plural() -> None:
    assert [counted(count, "part") for count in (0, 1, 2)] == ["0 parts", "1 part", "2 parts"]
