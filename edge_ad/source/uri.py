"""Where frames come from, in words: URIs, their short forms and their options."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from edge_ad.errors import UsageError

SCHEMES = ("v4l2", "rtsp", "rtsps", "http", "https", "csi", "gst", "pattern", "file")
_NETWORK = re.compile(r"(rtsps?|https?|gst):")
_USER = re.compile(r"(?<=//)\S*@")  # to the last @: passwords hold slashes and more of them
_SECRET = re.compile(r"(?i)((?:pass(?:word|wd)?|pwd|user(?:-?name|-pw|-id)?|token)=)[^&\s]+")


@dataclass(frozen=True, slots=True)
class Uri:
    """A source in parts: `rtsp` and `gst` keep theirs whole in `place`, the others have options."""

    scheme: str
    place: str
    options: Mapping[str, str] = field(default_factory=dict)


def parse_uri(text: str) -> Uri:
    """Split a URI or short form; raises UsageError for a scheme nobody knows."""
    if text.startswith("gst:"):
        return Uri("gst", text.removeprefix("gst:"))
    if re.fullmatch(r"\d+(\?.*)?", text):
        return _with_options("v4l2", "/dev/video" + text)
    if os.path.exists(text):  # a file may be called anything, 'a?b.png' among it
        return _existing(Path(text))
    scheme, found, rest = text.partition("://")
    if not found:
        return Uri("file", text)
    if scheme not in SCHEMES:
        raise UsageError(_unknown_scheme(scheme))
    if scheme in ("rtsp", "rtsps", "http", "https"):
        return Uri(scheme, text)
    return _with_options(scheme, rest)


def without_credentials(text: str) -> str:
    """The same URI or pipeline, fit for logs."""
    if not _NETWORK.match(text):
        return text
    return _SECRET.sub(r"\1***", _USER.sub("", text))


def check_options(uri: Uri, known: tuple[str, ...]) -> None:
    """Raise UsageError for an option that `known` does not list."""
    for name in uri.options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" It knows: {', '.join(known)}."
            raise UsageError(f"{uri.scheme}://{uri.place} has no option '{name}'.{hint}")


def number(uri: Uri, name: str, default: float, *, least: float = 0.0) -> float:
    """A numeric option; raises UsageError when it is none, or smaller than `least`."""
    text = uri.options.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?\d+(\.\d+)?", text) or float(text) < least:
        raise UsageError(
            f"{uri.scheme}://{uri.place}: option {name} wants a number of at least {least:g}, "
            f"got '{text}'."
        )
    return float(text)


def whole(uri: Uri, name: str, default: int, *, least: int = 0) -> int:
    """A whole-number option; raises UsageError like `number`."""
    value = number(uri, name, default, least=least)
    if value != int(value):
        raise UsageError(
            f"{uri.scheme}://{uri.place}: option {name} wants a whole number, got '{value:g}'."
        )
    return int(value)


def _existing(path: Path) -> Uri:
    return Uri("v4l2" if path.is_char_device() else "file", str(path))


def _with_options(scheme: str, rest: str) -> Uri:
    place, _, query = rest.partition("?")
    return Uri(scheme, place, dict(parse_qsl(query, keep_blank_values=True)))


def _unknown_scheme(scheme: str) -> str:
    if scheme == "genicam":
        return (
            "genicam:// is not supported. Where GStreamer has Aravis, use its source: "
            "--camera 'gst:aravissrc camera-name=NAME'"
        )
    near = difflib.get_close_matches(scheme, SCHEMES, n=1)
    hint = f"Did you mean {near[0]}://?" if near else "A file or folder needs no scheme."
    known = ", ".join(f"{name}://" for name in SCHEMES if name != "gst")
    return f"'{scheme}://' is no source edge-ad knows. {hint} It knows {known} and gst:PIPELINE."
