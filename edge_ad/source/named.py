"""Names of cameras: `top=rtsp://10.0.0.5/stream`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edge_ad.errors import UsageError
from edge_ad.uri import without_credentials

_NAMED = re.compile(r"([^:/?=!]*)=(.*)", re.DOTALL)  # a URI's own = comes after one of :/?!
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source's URI with the camera's name; an unnamed camera is called by its URI."""

    name: str
    uri: str


def name_sources(texts: Sequence[str]) -> list[NamedSource]:
    """Split `NAME=URI` texts; cameras without a name that share a URI get a number.

    Raises UsageError for a name that is none, or that two cameras have.
    """
    named = [_split(text) for text in texts]
    given = Counter(source.name for source in named if source.name)
    for name, count in given.items():
        if count > 1:
            raise UsageError(f"--camera: {count} cameras are called '{name}'. Names must differ.")
    seen = Counter(given)
    return [source if source.name else _by_uri(source.uri, seen) for source in named]


def is_named(text: str) -> bool:
    """Return whether a camera is given with a name."""
    return bool(_split(text).name)


def _by_uri(uri: str, seen: Counter[str]) -> NamedSource:
    name = without_credentials(uri)
    seen[name] += 1
    return NamedSource(name if seen[name] == 1 else f"{name}#{seen[name]}", uri)


def _split(text: str) -> NamedSource:
    match = _NAMED.fullmatch(text)
    if match is None or os.path.exists(text):  # a file may be called 'a=b.png'
        return NamedSource("", text)
    name, uri = match.groups()
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"camera '{name}' in '{name}={without_credentials(uri)}': that is no name. Expected "
            "letters, digits, '_', '-' and '.', at most 63, like top=rtsp://10.0.0.5/stream."
        )
    if not uri:
        raise UsageError(f"--camera: '{text}' has a name and no URI. Expected NAME=URI.")
    return NamedSource(name, uri)
