"""Network addresses: where to listen, and whether a host is this computer."""

from __future__ import annotations

import pytest

from edge_ad.address import is_ip, is_loopback, listen_address
from edge_ad.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_addresses_to_listen_on(text: str, expected: tuple[str, int]) -> None:
    assert listen_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "localhost", "localhost:", "localhost:http", "1:70000", "9" * 5000, "[]:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an address to listen on"):
        listen_address(text)


@pytest.mark.parametrize(
    ("host", "ip", "loopback"),
    [
        ("127.0.0.1", True, True),
        ("127.8.9.1", True, True),
        ("::1", True, True),
        ("localhost", False, True),
        ("10.0.0.5", True, False),
        ("0.0.0.0", True, False),
        ("line-3", False, False),
        ("", False, False),
    ],
)
def test_this_computer_is_known_by_name_and_address(
    host: str,
    ip: bool,  # noqa: FBT001
    loopback: bool,  # noqa: FBT001
) -> None:
    assert (is_ip(host), is_loopback(host)) == (ip, loopback)
