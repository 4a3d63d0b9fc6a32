"""Network addresses: where to listen, whether a host is this computer, and URLs of servers."""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from urllib.parse import SplitResult, unquote, urlsplit

from edge_ad.errors import UsageError


def listen_address(text: str) -> tuple[str, int]:
    """Return host (127.0.0.1 unless given) and port of `PORT`, `HOST:PORT` or `[IPV6]:PORT`.

    Raises UsageError.
    """
    host, _, port = text.rpartition(":")
    is_port = re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535
    if not is_port or (host and not host.strip("[]")):
        raise UsageError(
            f"'{text}' is not an address to listen on. Expected PORT, HOST:PORT or [IPV6]:PORT, "
            "such as 127.0.0.1:8080."
        )
    return host.strip("[]") or "127.0.0.1", int(port)


def is_ip(host: str) -> bool:
    """Return whether a host is an address of IPv4 or IPv6, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether a host is this computer, by name or address."""
    return host == "localhost" or (is_ip(host) and ipaddress.ip_address(host).is_loopback)


def url_with_host(text: str) -> SplitResult | None:
    """Return the parts of a URL, None without a host or with a port that is none."""
    try:
        parts = urlsplit(text)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def basic_login(url: SplitResult) -> str:
    """Return the header value that logs in with the user and the password of a URL."""
    pair = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return f"Basic {b64encode(pair.encode()).decode()}"
