"""When certificates end: the page's own, those of outlets, and those in the line's folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edge_ad.clock import as_utc

_SOON = timedelta(days=30)
_PLACES = ("*.pem", "*.crt", "*/*.pem", "*/*.crt")
_MOST, _LARGEST = 20, 64 << 10  # files, bytes of one
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_KEPT_S = 60.0

Named = Sequence[Mapping[str, str]]  # outlet, file, use: of a line's state


@dataclass(frozen=True, slots=True)
class CertificateEnd:
    """A certificate's file, when it ends (empty if it cannot be read), and what that means.

    `state` is ok, soon (within 30 days), over or unread. `outlet` is the one that names it.
    """

    name: str
    until: str
    state: str
    outlet: str = ""


def certificate_ends(folder: Path, own: Path | None, named: Named = ()) -> list[CertificateEnd]:
    """Return the certificates that a line and its page use, as far as their files are known."""
    now = datetime.now(timezone.utc)
    known, ends = set[Path](), list[CertificateEnd]()
    if own is not None:
        known.add(own.resolve())
        ends.append(end_of(own, str(own), now))
    for each in named:
        path = Path(each["file"])
        known.add(path.resolve())
        trusted = each["use"] == "ca"
        ends.append(end_of(path, str(path), now, outlet=each["outlet"], last=trusted))
    others = [path for path in _files(folder) if path.resolve() not in known]
    return ends + [end_of(path, str(path.relative_to(folder)), now) for path in others]


class CertificateWatch:
    """Certificates that end, looked at once a minute. Any thread may ask."""

    def __init__(
        self, folder: Path, own: Path | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._own, self._clock = folder, own, clock
        self._read: tuple[Named, float, list[CertificateEnd]] | None = None

    def ending(self, named: Named) -> list[CertificateEnd]:
        """Return those that have ended or end soon."""
        now_s, read = self._clock(), self._read
        if read is None or read[0] != named or now_s - read[1] > _KEPT_S:
            ends = certificate_ends(self._folder, self._own, named)
            read = (named, now_s, [each for each in ends if each.state in _ENDING])
            self._read = read
        return read[2]


_ENDING = ("soon", "over")


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


def end_of(
    path: Path, name: str, now: datetime, *, outlet: str = "", last: bool = False
) -> CertificateEnd:
    """Return the end of the certificate in a file, or with `last` of the one that ends last."""
    try:
        from edge_ad.opcua.certificate import valid_until

        until = valid_until(path, last=last)
    except (ImportError, OSError, ValueError):
        return CertificateEnd(name, "", "unread", outlet)
    state = "over" if until <= now else "soon" if until <= now + _SOON else "ok"
    return CertificateEnd(name, as_utc(until), state, outlet)
