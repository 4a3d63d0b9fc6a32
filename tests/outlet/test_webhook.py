"""Webhook: what arrives, what each answer means, and servers that misbehave."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edge_ad.errors import Refused, UsageError
from edge_ad.files import write_bytes
from edge_ad.outlet.delivery import Deliveries
from edge_ad.outlet.delivery_state import reason_of
from edge_ad.outlet.durable import DurableOutlet, TryLater
from edge_ad.outlet.message import facts
from edge_ad.outlet.registry import open_outlet
from edge_ad.store.outbox import read_dead_letters
from edge_ad.store.store import Store
from tests.outlet.peer import events, rejects
from tests.outlet.web import certificate, raw_server, web_server
from tests.timing import LIMIT_S, wait_until

RECORD = {
    "seq": 7, "id": "store-7", "type": "alarm", "camera": "top <1>", "step": "new",
    "kind": "defect", "time_utc": "2026-11-28T06:00:00.000+00:00", "part": 12, "score": 0.9,
    "threshold": 0.5, "evidence": "evidence/a.jpg",
}  # fmt: skip


def webhook(url: str, options: str = "") -> DurableOutlet:
    outlet = open_outlet(f"{url}#{options}" if options else url)
    assert isinstance(outlet, DurableOutlet)
    return outlet


def test_an_event_is_posted_as_json_with_its_id() -> None:
    with web_server() as server:
        outlet = webhook(f"{server.url}/hook/prüfung?line=1")
        outlet.deliver(RECORD)
    assert server.paths == ["/hook/pr%C3%BCfung?line=1"] and json.loads(server.bodies[0]) == RECORD
    assert server.headers[0]["idempotency-key"] == "store-7"
    assert server.headers[0]["content-type"] == "application/json"
    assert outlet.answer == "HTTP 200: thank you line 2"


def test_a_signature_proves_the_sender_and_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "a&b#c")
    with web_server() as server:
        outlet = webhook(server.url, "secret=${ENV:HOOK_SECRET}")
        outlet.deliver(RECORD)
    fields = dict(
        part.split("=") for part in server.headers[0]["x-edge-ad-signature"].split(",")
    )  # what docs/outlets.md tells a receiver to do
    signed = fields["t"].encode() + b"." + server.bodies[0]
    assert hmac.compare_digest(fields["v1"], hmac.new(b"a&b#c", signed, hashlib.sha256).hexdigest())
    assert abs(time.time() - int(fields["t"])) < 60 and "a&b" not in outlet.name
    assert vars(webhook(server.url, "secret=%FFa"))["secret"] == b"\xffa"


def test_credentials_are_sent_and_never_shown() -> None:
    with web_server() as server:
        url = server.url.replace("//", "//line:p%40ss@")
        outlet = webhook(url)
        outlet.deliver(RECORD)
        assert outlet.name == server.url
        webhook(server.url, "bearer=hunter2").deliver(RECORD)
        webhook(server.url.replace("//", "//:token@")).deliver(RECORD)
    basic, bearer, token = (headers["authorization"] for headers in server.headers)
    assert basic == "Basic " + base64.b64encode(b"line:p@ss").decode()
    assert bearer == "Bearer hunter2"
    assert token == "Basic " + base64.b64encode(b":token").decode()


def test_chat_services_have_the_channel_in_the_path_which_is_a_secret() -> None:
    one, two = (
        open_outlet(f"https://hooks.slack.com/services/{path}#template=slack") for path in "ab"
    )
    assert one.name != two.name and one.name.startswith("https://hooks.slack.com/***-")


def test_the_evidence_image_is_added_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.outlet.webhook._EVIDENCE_WITHIN_S", LIMIT_S)
    (tmp_path / "evidence").mkdir()
    with web_server() as server:
        outlet = webhook(server.url, "evidence=yes")
        outlet.folder = tmp_path
        timer = threading.Timer(0.1, write_bytes, [tmp_path / "evidence/a.jpg", b"jpeg"])
        timer.start()
        outlet.deliver(RECORD)
        timer.join()
    assert base64.b64decode(json.loads(server.bodies[0])["evidence_jpeg"]) == b"jpeg"


@pytest.mark.parametrize("template", ["slack", "teams", "ntfy"])
def test_chat_channels_get_their_own_shape(template: str) -> None:
    with web_server() as server:
        webhook(f"{server.url}/line-1?auth=x", f"template={template}").deliver(
            RECORD | {"test": True}
        )
    body: dict[str, Any] = json.loads(server.bodies[0])
    if template == "slack":
        assert body["text"].startswith("*TEST: Alarm: defect on top &lt;1&gt;*\nPart: 12\n")
    elif template == "teams":
        card = body["attachments"][0]["content"]
        assert card["body"][0]["text"] == "TEST: Alarm: defect on top <1>"
        assert {"title": "Score", "value": "0.9 (threshold 0.5)"} in card["body"][1]["facts"]
    else:
        assert (server.paths, body["topic"], body["priority"]) == (["/?auth=x"], "line-1", 4)


@pytest.mark.parametrize(
    ("status", "headers", "error", "message", "wait_s"),
    [
        (400, {}, Refused, "HTTP 400: thank you", None),
        (404, {}, Refused, "HTTP 404", None),
        (301, {"Location": "https://elsewhere/"}, Refused, "HTTP 301 to https://elsewhere/", None),
        (407, {}, TryLater, "HTTP 407", None),
        (408, {}, TryLater, "HTTP 408", None),
        (425, {}, TryLater, "HTTP 425", None),
        (429, {"Retry-After": "7"}, TryLater, "HTTP 429", 7.0),
        (500, {}, TryLater, "HTTP 500", None),
        (503, {"Retry-After": "999999"}, TryLater, "HTTP 503", 3600.0),
        (503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, TryLater, "HTTP 503", 0.0),
        (503, {"Retry-After": "soon"}, TryLater, "HTTP 503", None),
        (503, {"Retry-After": "\xb2"}, TryLater, "HTTP 503", None),
    ],
)
def test_the_status_decides(
    status: int, headers: dict[str, str], error: type[Exception], message: str, wait_s: float | None
) -> None:
    with web_server() as server:
        server.answers.append((status, headers))
        with pytest.raises(error, match=message) as raised:
            webhook(server.url).deliver(RECORD)
    assert getattr(raised.value, "retry_after_s", None) == wait_s


def _hang(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def _drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        connection.sendall(f"X-{number}: 1\r\n".encode())
        time.sleep(0.05)


def _close_half_way(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.")


def _garbage(connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff SSH-2.0-dropbear\r\n\r\n" * 10)


def _endless_header(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000)


@pytest.mark.parametrize(
    ("answer", "limit_s", "error", "message"),
    [
        (_hang, 0.3, TimeoutError, r"^no answer in 0\.3 s$"),
        (_drip, 0.3, TimeoutError, r"^no answer in 0\.3 s$"),
        (_close_half_way, 60, ConnectionError, "no answer in HTTP"),
        (_garbage, 60, ConnectionError, "no answer in HTTP"),
        (_endless_header, 60, ConnectionError, "no answer in HTTP"),
    ],
)
def test_a_server_that_misbehaves_is_an_outage(
    answer: Any, limit_s: float, error: type[Exception], message: str
) -> None:
    with raw_server(answer) as url, pytest.raises(error, match=message):
        webhook(url, f"timeout_s={limit_s}").deliver(RECORD)


def test_a_megabyte_in_answer_is_not_read() -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 1_000_000)

    with raw_server(answer) as url:
        outlet = webhook(url)
        outlet.deliver(RECORD)
    assert len(outlet.answer) < 300


def test_nobody_there_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        webhook(f"http://127.0.0.1:{port}").deliver(RECORD)


def test_closing_ends_a_request_under_way() -> None:
    asked = threading.Event()

    def answer(connection: socket.socket) -> None:
        asked.set()
        _hang(connection)

    with raw_server(answer) as url:
        outlet = webhook(url)
        raised: list[Exception] = []

        def deliver() -> None:
            try:
                outlet.deliver(RECORD)
            except OSError as error:
                raised.append(error)

        thread = threading.Thread(target=deliver)
        thread.start()
        assert asked.wait(LIMIT_S)
        outlet.close()
        thread.join(LIMIT_S)
    assert str(raised[0]) == "the line stopped"


def test_tls_checks_the_certificate(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with web_server(context) as server:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED") as unknown:
            webhook(server.url).deliver(RECORD)
        webhook(server.url, f"ca={file}").deliver(RECORD)
    other = certificate(tmp_path, "elsewhere")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other)
    with web_server(context) as server:
        with pytest.raises(ssl.SSLError, match="mismatch") as mismatch:
            webhook(server.url, f"ca={other}").deliver(RECORD)
    assert reason_of(unknown.value).endswith("For a certificate of your own: ca=FILE")
    assert reason_of(mismatch.value).endswith("'127.0.0.1')")
    expired = certificate(tmp_path, days=-1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(expired)
    with web_server(context) as server, pytest.raises(ssl.SSLError, match="expired"):
        webhook(server.url, f"ca={expired}").deliver(RECORD)
    assert len(server.bodies) == 0


def test_a_threshold_of_zero_is_a_fact() -> None:
    record = RECORD | {"score": 0.0, "threshold": -0.5}
    assert facts(record)["Score"] == "0 (threshold -0.5)"


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        webhook("http://mes.invalid:8080/hook").deliver(RECORD)
    assert proxy.paths == ["http://mes.invalid:8080/hook"]
    assert proxy.headers[0]["host"] == "mes.invalid:8080"
    assert "proxy-authorization" not in proxy.headers[0]


def test_a_proxy_gets_the_user_of_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//line:p%40ss@"))
        webhook("http://mes.invalid:8080/hook").deliver(RECORD)
    login = base64.b64encode(b"line:p@ss").decode()
    assert proxy.headers[0]["proxy-authorization"] == f"Basic {login}"


def test_an_event_outlives_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:port")
    with pytest.raises(ConnectionError, match="proxy is not an address"):
        webhook("http://mes.invalid:8080/hook").deliver(RECORD)


def test_order_is_kept_and_refusals_are_kept_with_the_reason(tmp_path: Path) -> None:
    with web_server() as server:
        server.answers = [(200, {}), (500, {}), (500, {}), (200, {}), *[(422, {})] * 5]
        outlet = webhook(server.url, "events=reject")
        with Store(tmp_path) as store:
            Deliveries(store, [outlet], ())
            rejects(store, range(6))
            wait_until(lambda: len(server.bodies) == 12)
    parts = [json.loads(body)["part"] for body in server.bodies]
    assert parts == [0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 4, 5]
    (letter,) = read_dead_letters(tmp_path, [outlet.name])
    assert (letter["event"]["part"], letter["refused"]) == (2, "HTTP 422: thank you line 2")
    assert [event["step"] for event in events(tmp_path, "outlet_fault")] == ["new", "end"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://", "is no URL"),
        ("https://host:port/", "is no URL"),
        ("http://host/a b", "is no URL"),
        ("https://host/#template=irc", "option template must be slack or teams or ntfy"),
        ("https://host/#template=ntfy", "ntfy needs a topic"),
        ("https://host/#evidence=maybe", "option evidence must be yes or no"),
        ("https://host/#template=slack&evidence=yes", "has no image"),
        ("https://host/#ca=/surely/absent.pem", "there is no file '/surely/absent.pem' for ca"),
        ("https://host/#key=setup.cfg", "Give cert too"),
        ("https://host/#ca=setup.cfg", "'setup.cfg' cannot be used for ca"),
        ("https://host/#cert=setup.cfg", "'setup.cfg' cannot be used for cert"),
        ("http://host/#ca=x", "ca is for TLS. Write https:// instead"),
        ("https://u:p@host/#bearer=x", "exclude each other"),
        ("https://:p@host/#bearer=x", "exclude each other"),
        ("https://host/#bearer=a%0Ab", "bearer has a character that a header cannot carry"),
        ("https://host/#connect_s=3601", "option connect_s must be at most 3600"),
        ("https://host/#timeout_s=3601", "option timeout_s must be at most 3600"),
        ("https://host/#tmeplate=slack", "Did you mean 'template'"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_outlet(text)
