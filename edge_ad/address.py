"""Network addresses: where to listen, and whether a host is this computer."""

from __future__ import annotations

import ipaddress
import re

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
