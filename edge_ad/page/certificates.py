"""When certificates end: the page's own, and those in the line's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edge_ad.clock import as_utc

_SOON = timedelta(days=30)
_PLACES = ("*.pem", "*.crt", "*/*.pem", "*/*.crt")
_MOST, _LARGEST = 20, 64 << 10  # files, bytes of one
_BEGIN = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class CertificateEnd:
    """A certificate's file, when it ends (empty if it cannot be read), and what that means.

    `state` is ok, soon (within 30 days), over or unread.
    """

    name: str
    until: str
    state: str


def certificate_ends(folder: Path, own: Path | None) -> list[CertificateEnd]:
    """Return the certificates that a line and its page use, as far as their files are known."""
    now = datetime.now(timezone.utc)
    files = [path for path in _files(folder) if own is None or path.resolve() != own.resolve()]
    ends = [end_of(path, str(path.relative_to(folder)), now) for path in files]
    return ends if own is None else [end_of(own, str(own), now), *ends]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder that begin a certificate, without keys."""
    found = 0
    for place in _PLACES:
        for path in sorted(folder.glob(place)):
            if found < _MOST and _BEGIN in _read(path):
                found += 1
                yield path


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""


def end_of(path: Path, name: str, now: datetime) -> CertificateEnd:
    """Return the end of the certificate in a file."""
    try:
        from edge_ad.opcua.certificate import valid_until

        until = valid_until(path)
    except (ImportError, OSError, ValueError):
        return CertificateEnd(name, "", "unread")
    state = "over" if until <= now else "soon" if until <= now + _SOON else "ok"
    return CertificateEnd(name, as_utc(until), state)
