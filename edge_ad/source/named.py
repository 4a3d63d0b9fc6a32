"""Names of cameras: `top=rtsp://10.0.0.5/stream`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_ad.errors import UsageError
from edge_ad.files import readable
from edge_ad.source.open import camera_in_folder
from edge_ad.uri import without_credentials

# a URI's own = comes after one of :/?!; a path may have one, but no scheme after it
_NAMED = re.compile(r"([^:/?=!$]*|[^:?=!$]*(?==[a-z0-9]+:))=(.*)", re.DOTALL)
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
_NAME = re.compile(NAME)


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source's URI with the camera's name; an unnamed camera is called by its URI."""

    name: str
    uri: str


def name_sources(sources: Sequence[NamedSource]) -> list[NamedSource]:
    """Name every source; cameras without a name that share a URI get a number.

    Raises UsageError for an invalid name, and for one that two cameras have.
    """
    given = Counter(source.name for source in sources if source.name)
    for name, count in given.items():
        check_name(name)
        if count > 1:
            raise UsageError(f"{count} cameras are called '{name}'. Names must differ.")
    taken = set(given)
    return [source if source.name else _by_uri(source.uri, taken) for source in sources]


def split_name(text: str) -> NamedSource:
    """Split `NAME=URI`; the name is empty where there is none.

    Raises UsageError for an invalid name, and for a name without a URI.
    """
    match = _NAMED.fullmatch(text)
    if match is None or os.path.exists(text):  # a file may be called 'a=b.png'
        return NamedSource("", text)
    name, uri = match.groups()
    if not _NAME.fullmatch(name):
        raise UsageError(f"camera '{name}' in '{name}={without_credentials(uri)}': {_NOT_A_NAME}")
    if not uri:
        raise UsageError(f"--camera: '{text}' has a name and no URI. Expected NAME=URI.")
    return NamedSource(name, uri)


def named_in_folder(text: str, folder: Path) -> str:
    """Return `[NAME=]URI` with relative paths relative to `folder`."""
    if (folder / text).exists():
        return str(folder / text)
    named = split_name(text)
    uri = camera_in_folder(named.uri, folder)
    return f"{named.name}={uri}" if named.name else uri


def check_name(name: str) -> None:
    """Raise UsageError for a name that no camera can have."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"camera '{name}': {_NOT_A_NAME}")


_NOT_A_NAME = (
    "that is not a valid name. Expected letters, digits, '_', '-' and '.', at most 63, like "
    "top=rtsp://10.0.0.5/stream."
)


def _by_uri(uri: str, taken: set[str]) -> NamedSource:
    """Name a source by its URI; the name is added to those that are taken."""
    name = first = readable(without_credentials(uri))
    number = 1
    while name in taken:
        number += 1
        name = f"{first}#{number}"
    taken.add(name)
    return NamedSource(name, uri)
