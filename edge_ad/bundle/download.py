"""Fetch a bundle from an https server, going on where an earlier attempt ended."""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from edge_ad.address import basic_login
from edge_ad.bundle.archive import header
from edge_ad.bundle.durable import check_room, make_folder, write_durably
from edge_ad.bundle.manifest import MANIFEST
from edge_ad.errors import DataError, OutletLost, SourceLost, UsageError
from edge_ad.secret import with_secrets
from edge_ad.uri import without_credentials

_CHUNK = 1 << 18
_TIMEOUT_S = 30.0  # without a byte
_BYTES = "[0-9]{1,18}"
_RANGE = re.compile(rf"bytes ({_BYTES})-{_BYTES}/({_BYTES}|\*)")
_NAME = header(MANIFEST, 0)[:100]  # how every bundle begins


@dataclass(frozen=True)
class Download:
    """A URL, where to keep what has arrived, and limits.

    `ca` is a file of certificates to trust instead of the system's. `attempts` counts connections;
    `wait` is called with the seconds before the next.
    """

    url: str
    folder: Path
    largest_bytes: int
    wait: Callable[[float], object]
    ca: Path | None = None
    attempts: int = 5
    progress: Callable[[str], None] = lambda text: None

    @property
    def path(self) -> Path:
        """The file that holds what has arrived."""
        return self.folder / f"{hashlib.sha256(self.url.encode()).hexdigest()[:16]}.part"

    @property
    def label(self) -> str:
        """The URL without credentials, for messages."""
        return without_credentials(self.url)


def fetch_bundle(download: Download) -> Path:
    """Return the complete file.

    Raises UsageError for a URL that is not https, SourceLost when it cannot be fetched, DataError
    for something other than a bundle, OutletLost when it cannot be written.
    """
    parts = urlsplit(with_secrets(download.url))
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError(f"{download.label}: expected https://HOST/FILE.edgead.")
    opener = build_opener(HTTPSHandler(context=_context(download)), _SameHost())
    problem = ""
    try:
        make_folder(download.folder)
        for attempt in range(download.attempts):
            if attempt:
                download.progress(f"{problem}; trying again")
                download.wait(min(2.0**attempt, 30.0))
            problem = _attempt(opener, _request(parts), download)
            if not problem:
                return download.path
    except OSError as error:
        where = error.filename or download.path
        raise OutletLost(f"{where}: cannot be written ({error.strerror or error}).") from error
    kept = download.path.stat().st_size if download.path.exists() else 0
    raise SourceLost(
        f"{download.label}: {problem}, {download.attempts} times. {kept} bytes are kept; the same "
        "command goes on from there."
    )


def forget_download(path: Path) -> None:
    """Remove a download, so that the next attempt begins at its start."""
    path.unlink(missing_ok=True)
    _note(path).unlink(missing_ok=True)


class _SameHost(HTTPRedirectHandler):
    """Follows redirects to other paths of the same server only."""

    max_redirections = 5

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the request for the new place. Raises SourceLost for another server."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (new.scheme, _host(new)) != (old.scheme, _host(old)):
            fp.close()
            raise SourceLost(
                f"{without_credentials(req.full_url)} redirects to another server, "
                f"{new.scheme}://{_host(new)}. Give that URL if it is the right one."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _attempt(opener: Any, request: Request, download: Download) -> str:
    """Fetch what is missing; return why it ended early, empty when all has arrived."""
    path, known = download.path, _read_note(download.path)
    begun = path.stat().st_size if path.exists() and known.get("validator") else 0
    if begun:
        request.add_header("Range", f"bytes={begun}-")
        request.add_header("If-Range", known["validator"])
    try:
        with _open(opener, request, download) as response:
            return _receive(response, begun, download)
    except HTTPError as error:
        error.close()
        answer = f"the server answers {error.code} {error.reason}"
        if error.code == 416:  # what is here is no part of what is there
            forget_download(path)
        if error.code in (416, 429) or error.code >= 500:
            return answer
        raise SourceLost(f"{download.label}: {answer}.") from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise SourceLost(
                f"{download.label}: its certificate is not trusted ({error.reason.verify_message})"
                ". For a certificate of your own: --ca FILE"
            ) from error
        return f"no connection ({error.reason})"
    except (HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        return f"the connection broke ({type(error).__name__})"


def _open(opener: Any, request: Request, download: Download) -> Any:
    try:
        return opener.open(request, timeout=_TIMEOUT_S)
    except ValueError as error:  # the request's own address was parsed before
        raise SourceLost(f"{download.label}: redirects to no address ({error}).") from error


def _receive(answer: Any, begun: int, download: Download) -> str:
    headers = answer.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise SourceLost(f"{download.label}: the server compresses what was not asked for.")
    if answer.status == 206:
        match = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if not match or int(match[1]) != begun:
            forget_download(download.path)
            return "the server answers with another range than asked for"
        length = match[2]
    elif answer.status == 200:
        begun, length = 0, headers.get("Content-Length", "")
    else:
        return f"the server answers {answer.status}"
    total = int(length) if re.fullmatch(_BYTES, length) else None
    return _receive_rest(answer, begun, total, download)


def _receive_rest(answer: Any, begun: int, total: int | None, download: Download) -> str:
    """Keep what follows the first `begun` of `total` bytes, None of an unknown number."""
    if total is not None and total > download.largest_bytes:
        raise SourceLost(
            f"{download.label} has {total >> 20} MiB, at most {download.largest_bytes >> 20} MiB "
            "are fetched. If it is right: --max-mib"
        )
    check_room(download.folder, (total or 0) - begun)
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    if validator.startswith("W/"):  # says nothing about bytes
        validator = ""
    write_durably(_note(download.path), json.dumps({"validator": validator}).encode())
    arrived = _append(answer, begun, download)
    if total is not None and arrived != total:
        return f"{arrived} of {total} bytes have arrived"
    return ""


def _append(answer: Any, begun: int, download: Download) -> int:
    """Write what arrives behind the first `begun` bytes, and return how many there are then."""
    with download.path.open("r+b" if begun else "wb") as file:
        file.truncate(begun)
        arrived = file.seek(begun)
        while chunk := _read(answer):
            if not arrived and not _NAME.startswith(chunk[: len(_NAME)]):
                raise DataError(f"{download.label}: not a bundle; it begins with {chunk[:24]!a}.")
            arrived += len(chunk)
            if arrived > download.largest_bytes:
                raise SourceLost(
                    f"{download.label} has more than {download.largest_bytes >> 20} MiB. If it is "
                    "right: --max-mib"
                )
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return arrived


def _read(answer: Any) -> bytes:
    try:
        return bytes(answer.read1(_CHUNK))
    except (HTTPException, OSError, ValueError) as error:  # an OSError here is the network's
        raise ConnectionError(str(error)) from error


def _context(download: Download) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=download.ca)
    except OSError as error:
        raise UsageError(f"{download.ca}: no certificates in PEM ({error}).") from error


def _request(parts: SplitResult) -> Request:
    url = urlunsplit(parts._replace(netloc=_host(parts)))
    request = Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "edge-ad"})
    if parts.username is not None:
        request.add_header("Authorization", basic_login(parts))
    return request


def _host(parts: SplitResult) -> str:
    """Return host and port of a URL, without credentials."""
    return str(parts.netloc).rpartition("@")[2]


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_note(path: Path) -> dict[str, str]:
    try:
        content = json.loads(_note(path).read_bytes())
        return {str(key): str(value) for key, value in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}
