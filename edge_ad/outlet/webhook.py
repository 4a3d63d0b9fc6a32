"""Send each event as an HTTP POST, signed where a secret is given, or shaped for a chat channel."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import string
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote

import edge_ad
from edge_ad.address import basic_login, url_with_host
from edge_ad.errors import Refused, UsageError
from edge_ad.outlet import message
from edge_ad.outlet.durable import DurableOutlet, Record, TryLater
from edge_ad.outlet.http_client import HttpAnswer, HttpRequest
from edge_ad.outlet.tls import refuse_tls_options, tls_context
from edge_ad.uri import Uri, credentials_in, number, one_of, without_credentials

TEMPLATES = ("slack", "teams", "ntfy")
_LATER = frozenset({407, 408, 425, 429})  # 407 is a proxy's
_EVIDENCE_WITHIN_S = 3.0  # an image is written a moment after its event
_EVIDENCE_BYTES = 8 << 20
_LONGEST_S = 3600.0
_TOKEN = re.compile(r"[!-~]+")  # what a header can carry


def open_webhook(uri: Uri) -> DurableOutlet:
    """Open `https://HOST/PATH#OPTIONS`. Raises UsageError for an invalid URL or option."""
    url = _split(uri)
    template = one_of(uri, "template", TEMPLATES, "")
    evidence = one_of(uri, "evidence", ("yes", "no"), "no") == "yes"
    if template and evidence:
        raise UsageError(f"{uri}: the template {template} has no image. Leave evidence out.")
    if template == "ntfy" and not url.path.strip("/"):
        raise UsageError(f"{uri}: ntfy needs a topic, such as https://ntfy.sh/line-1.")
    if url.scheme == "http":
        refuse_tls_options(uri)
    request = HttpRequest(
        url,
        tls_context(uri) if url.scheme == "https" else None,
        number(uri, "connect_s", 5.0, least=0.1, most=_LONGEST_S),
        number(uri, "timeout_s", 15.0, least=0.1, most=_LONGEST_S),
    )
    headers = _headers(uri, url)
    outlet = Webhook(request, url, template, headers, evidence=evidence)
    outlet.secret = uri.options.get("secret", "").encode(errors="surrogateescape")
    outlet.hidden = _hidden(uri, url, headers)
    if "***" in str(uri):  # two channels of one chat service stay apart
        outlet.identity = f"{uri}-{hashlib.sha256(uri.place.encode()).hexdigest()[:8]}"
    return outlet


class Webhook(DurableOutlet):
    """Delivered means an answer of 2xx.

    407, 408, 425, 429 and 5xx mean to try again without end, after Retry-After where given; any
    other answer, redirects among them, refuses the event.
    """

    secret = b""
    hidden: Sequence[str] = ()  # what an answer may repeat, and no log may show

    def __init__(
        self,
        request: HttpRequest,
        url: SplitResult,
        template: str,
        headers: dict[str, str],
        *,
        evidence: bool,
    ) -> None:
        self._request, self._headers = request, headers
        self._template, self._evidence = template, evidence
        self._target = url.path or "/"
        self._topic = ""
        if template == "ntfy":
            root, _, self._topic = self._target.rstrip("/").rpartition("/")
            self._target = f"{root}/"
        if url.query:
            self._target += f"?{url.query}"
        self._target = quote(self._target, safe=string.punctuation)  # what is beyond ASCII

    def deliver(self, record: Record) -> None:
        body = json.dumps(self._body(record)).encode()
        headers = {**self._headers, "Idempotency-Key": record["id"], **self._signature(body)}
        answer = self._request.post(body, headers, self._target)
        self.answer = _words(answer, self.hidden)
        if answer.status in _LATER or answer.status >= 500:
            raise TryLater(self.answer, answer.retry_after_s)
        if not 200 <= answer.status < 300:
            raise Refused(self.answer)

    def close(self) -> None:
        """End a request under way."""
        self._request.abort("the line stopped")

    def _body(self, record: Record) -> dict[str, Any]:
        if self._template == "ntfy":
            return message.ntfy(record, self._topic)
        if self._template:
            return message.slack(record) if self._template == "slack" else message.teams(record)
        image = self._image(record)
        return record | ({"evidence_jpeg": base64.b64encode(image).decode()} if image else {})

    def _signature(self, body: bytes) -> dict[str, str]:
        """Return the header that proves who sent the body, and when."""
        if not self.secret:
            return {}
        now = str(int(time.time()))
        digest = hmac.new(self.secret, f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Edge-Ad-Signature": f"t={now},v1={digest}"}

    def _image(self, record: Record) -> bytes:
        """Return the evidence image, empty without one; wait a little for it to be written."""
        if not self._evidence or "evidence" not in record or self.folder is None:
            return b""
        path, until = self.folder / Path(record["evidence"]), time.monotonic() + _EVIDENCE_WITHIN_S
        while not path.is_file() and time.monotonic() < until:
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            if path.stat().st_size <= _EVIDENCE_BYTES:
                return path.read_bytes()
        return b""


def _split(uri: Uri) -> SplitResult:
    url = url_with_host(uri.place)
    if url is None or any(c.isspace() or ord(c) < 32 for c in uri.place):
        raise UsageError(f"{uri} is no URL. Expected one such as https://mes.local:8443/alarms.")
    return url


def _headers(uri: Uri, url: SplitResult) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": f"edge-ad/{edge_ad.__version__}"}
    bearer = uri.options.get("bearer")
    has_login = bool(url.username or url.password)
    if bearer and has_login:
        raise UsageError(f"{uri}: bearer and a user name exclude each other. Give one.")
    if bearer and not _TOKEN.fullmatch(bearer):  # it is not repeated
        raise UsageError(
            f"{uri}: bearer has a character that a header cannot carry. Expected letters, digits "
            "and signs of ASCII, without spaces and line ends."
        )
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    if has_login:
        headers["Authorization"] = basic_login(url)
    return headers


def _hidden(uri: Uri, url: SplitResult, headers: Mapping[str, str]) -> list[str]:
    """Return the secrets of a request, the longest first: one may hold another."""
    login = headers.get("Authorization", "").partition(" ")[2]
    own = (url.password or "", unquote(url.password or ""), uri.options.get("secret", ""))
    return sorted({*credentials_in(uri.place), login, *own} - {""}, key=len, reverse=True)


def _words(answer: HttpAnswer, hidden: Sequence[str]) -> str:
    """Return an answer in words, on one line, without what is secret of its request."""
    location, text = without_credentials(answer.location), " ".join(answer.text.split())
    for secret in hidden:
        location, text = location.replace(secret, "***"), text.replace(secret, "***")
    words = f"HTTP {answer.status}"
    if location:
        words += f" to {location[:200]} (redirects are not followed: give that address)"
    return f"{words}: {text[:200]}" if text else words
