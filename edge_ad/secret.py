"""Secrets in URIs by reference: `rtsp://line:${ENV:CAMERA_PASSWORD}@10.0.0.5/stream`.

A reference is replaced when the URI is opened and not before, so that files, printed
configurations, records and messages have the reference and never the secret.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from edge_ad.errors import UsageError

SECRET = re.compile(r"\$\{(ENV|FILE):([^{}]*)\}")  # a reference
_LIKE_ONE = re.compile(r"\$\{[^}]*\}?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 8192


def with_secrets(text: str) -> str:
    """Return a URI with the secrets in place of their references.

    `${ENV:NAME}` is the variable NAME, `${FILE:PATH}` the content of a file without its last line
    break. Within a URI with `://`, a secret is percent-encoded; one that is the whole text is
    taken as it is. Raises UsageError, which names the reference, for one that leads nowhere.
    """
    if "${" not in text:
        return text
    for match in _LIKE_ONE.finditer(text):
        if not SECRET.fullmatch(match[0]):
            raise UsageError(
                f"'{match[0]}' is not a reference. Expected ${{ENV:NAME}} or ${{FILE:PATH}}."
            )
    whole = SECRET.fullmatch(text)
    if whole:
        return _read(whole)
    if "://" in text:
        return SECRET.sub(lambda match: quote(_read(match), safe=""), text)
    return SECRET.sub(_read, text)


def in_folder(text: str, folder: Path) -> str:
    """Return a text whose references to relative files are relative to `folder`."""

    def placed(match: re.Match[str]) -> str:
        kind, name = match.groups()
        return f"${{FILE:{folder / name}}}" if kind == "FILE" and name else match[0]

    return SECRET.sub(placed, text)


def _read(match: re.Match[str]) -> str:
    kind, name = match.groups()
    secret = _variable(match[0], name) if kind == "ENV" else _file(match[0], Path(name))
    if not secret:
        raise UsageError(f"{match[0]} is empty.")
    if "\n" in secret or "\0" in secret:
        raise UsageError(f"{match[0]} has more than one line. A secret is one line.")
    return secret


def _variable(reference: str, name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise UsageError(f"{reference}: '{name}' is not the name of a variable.")
    if name not in os.environ:
        raise UsageError(f"{reference}: the environment has no variable {name}. Set it.")
    return os.environ[name]


def _file(reference: str, path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            content = file.read(_LONGEST + 1)
    except UnicodeDecodeError as error:
        raise UsageError(f"{reference}: the file is not UTF-8 text.") from error
    except OSError as error:
        raise UsageError(f"{reference}: cannot be read ({error.strerror or error}).") from error
    if len(content) > _LONGEST:
        raise UsageError(f"{reference}: the file has more than {_LONGEST} characters.")
    return content.removesuffix("\n").removesuffix("\r")
