"""What a web server repeats of a request in its answer is not shown where it is secret."""

from __future__ import annotations

import base64
import socket

import pytest

from edge_ad.errors import Refused
from tests.outlet.test_webhook import RECORD, webhook
from tests.outlet.web import raw_server, web_server

LOGIN = base64.b64encode(b"line:hunter2").decode()


@pytest.mark.parametrize(
    ("query", "options", "user"),
    [
        ("?sig=hunter2", "", ""),
        ("?api_key=hunter2&x=1", "", ""),
        ("?auth=hunter2", "", ""),
        ("", "bearer=hunter2", ""),
        ("", "secret=hunter2", ""),
        ("", "", "line:hunter2@"),
    ],
)
def test_an_answer_that_repeats_a_secret_is_shown_without(
    query: str, options: str, user: str
) -> None:
    def echo(connection: socket.socket) -> None:
        body = f"no hook at /hook{query} for {LOGIN if user else 'you'}, hunter2".encode()
        connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n" + body)

    with raw_server(echo) as url:
        outlet = webhook(f"{url.replace('//', f'//{user}')}/hook{query}", options)
        with pytest.raises(Refused) as refused:
            outlet.deliver(RECORD)
    shown = str(refused.value)
    assert "HTTP 404: no hook at /hook" in shown
    assert "hunter2" not in shown and LOGIN not in shown


def test_a_redirect_is_shown_without_the_secret_of_its_address() -> None:
    with web_server() as server:
        server.answers = [(301, {"Location": "https://mes/hook/?line=3&sig=hunter2"})]
        with pytest.raises(Refused, match=r"301 to https://mes/hook/\?line=3&sig=\*\*\* \("):
            webhook(f"{server.url}/hook?line=3&sig=hunter2").deliver(RECORD)
