"""Bundles from a web server: interrupted, resumed, garbage, too long, and redirected elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_ad.bundle.archive import header
from edge_ad.bundle.download import Download, fetch_bundle
from edge_ad.errors import DataError, EdgeAdError, OutletLost, SourceLost, UsageError

pytest.importorskip("cryptography")

DATA = header("manifest.json", 5) + bytes(range(256)) * 3000


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns, as far as it is used."""

    free: int


@dataclass
class Server:
    """Serves `data`; how it misbehaves is in the fields. `ranges` are those asked for."""

    url: str = ""
    data: bytes = DATA
    cut_at: list[int] = field(default_factory=list)  # bytes after which an answer breaks off
    etag: str = '"1"'
    ranges: list[str] = field(default_factory=list)
    ignores_ranges: bool = False
    wrong_range: bool = False
    statuses: list[int] = field(default_factory=list)
    redirect: str = ""
    encoding: str = ""
    length: int | str | None = None
    authorization: str = ""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate for localhost, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class Handler(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        state = self.state
        state.authorization = self.headers.get("Authorization", "")
        if state.statuses and (status := state.statuses.pop(0)) != 200:
            return self.answer(status, b"")
        if state.redirect and self.path != "/moved.edgead":
            return self.answer(302, b"", Location=state.redirect)
        asked = self.headers.get("Range", "")
        state.ranges.append(asked)
        same = self.headers.get("If-Range") == state.etag
        if asked and same and not state.ignores_ranges:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            shown = 0 if state.wrong_range else begin
            place = f"bytes {shown}-{len(state.data) - 1}/{len(state.data)}"
            return self.answer(206, state.data[begin:], **{"Content-Range": place})
        self.answer(200, state.data)

    def answer(self, status: int, data: bytes, **headers: str) -> None:
        state = self.state
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if state.length is None else state.length))
        if state.etag:
            self.send_header("ETag", state.etag)
        if state.encoding:
            self.send_header("Content-Encoding", state.encoding)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        cut = state.cut_at.pop(0) if state.cut_at and data else None
        with contextlib.suppress(OSError):
            self.wfile.write(data[:cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    state = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    handler = type("OneHandler", (Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        http.socket = context.wrap_socket(http.socket, server_side=True)
        state.url = f"https://127.0.0.1:{http.server_port}/7.edgead"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def make(server: Server, certificate: Path, tmp_path: Path) -> Download:
    return Download(
        server.url, tmp_path / "downloads", 4 << 20, lambda _: None, ca=certificate, attempts=4
    )


def test_a_file_is_fetched(make: Download, server: Server) -> None:
    assert fetch_bundle(make).read_bytes() == DATA and server.ranges == [""]


def test_an_interrupted_download_goes_on_where_it_ended(make: Download, server: Server) -> None:
    server.cut_at = [100_000, 200_000]
    assert fetch_bundle(make).read_bytes() == DATA
    assert server.ranges == ["", "bytes=100000-", "bytes=300000-"]


def test_the_next_command_goes_on_too(make: Download, server: Server) -> None:
    server.cut_at = [100_000, 1, 1, 1]
    with pytest.raises(
        SourceLost, match=r"100003 of 768512 bytes.*the same command goes on"
    ) as info:
        fetch_bundle(make)
    assert info.value.exit_code == 5
    assert fetch_bundle(make).read_bytes() == DATA and server.ranges[-1] == "bytes=100003-"


def test_what_a_damaged_note_belongs_to_is_fetched_from_its_start(
    make: Download, server: Server
) -> None:
    server.cut_at = [100_000] * 4
    with pytest.raises(SourceLost):
        fetch_bundle(make)
    for note in (b'{"validator": ', b"[]", b"\xff"):
        make.path.with_suffix(".json").write_bytes(note)
        assert fetch_bundle(make).read_bytes() == DATA and server.ranges[-1] == ""


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(
    make: Download, server: Server
) -> None:
    server.cut_at = [100_000] * 4
    with pytest.raises(SourceLost):
        fetch_bundle(make)
    server.cut_at, server.etag = [], '"2"'
    server.data = DATA[:512] + DATA[512:][::-1]
    assert fetch_bundle(make).read_bytes() == server.data


@pytest.mark.parametrize("etag", ["", 'W/"1"', '"1"'])
def test_a_server_without_ranges_starts_again(make: Download, server: Server, etag: str) -> None:
    server.cut_at, server.ignores_ranges, server.etag = [100_000], True, etag
    assert fetch_bundle(make).read_bytes() == DATA
    assert server.ranges == ["", "bytes=100000-" if etag == '"1"' else ""]


def test_a_wrong_range_is_not_appended(make: Download, server: Server) -> None:
    server.cut_at, server.wrong_range = [100_000], True
    assert fetch_bundle(make).read_bytes() == DATA and server.ranges[-1] == ""


def test_garbage_ends_at_its_first_bytes(make: Download, server: Server) -> None:
    server.data = b"<html>please log in</html>" * 100_000
    with pytest.raises(DataError, match="not a bundle; it begins with b'<html>"):
        fetch_bundle(make)
    assert make.path.stat().st_size == 0


def test_a_file_that_is_too_large_is_not_fetched(make: Download, server: Server) -> None:
    server.data = DATA * 10
    with pytest.raises(SourceLost, match="--max-mib"):
        fetch_bundle(make)
    assert not make.path.exists()


def test_a_download_does_not_fill_the_disk(make: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(32 << 20))
    with pytest.raises(OutletLost, match="32 MiB are needed, 32 MiB are free"):
        fetch_bundle(make)
    assert not make.path.exists()


def test_a_length_that_is_too_long_is_never_complete(make: Download, server: Server) -> None:
    server.length, server.ignores_ranges = len(DATA) + 1, True
    with pytest.raises(SourceLost, match="768512 of 768513 bytes have arrived, 4 times"):
        fetch_bundle(make)


@pytest.mark.parametrize(("statuses", "count"), [([503, 429], 1), ([416], 1)])
def test_a_busy_server_is_asked_again(
    make: Download, server: Server, statuses: list[int], count: int
) -> None:
    server.statuses = statuses
    assert fetch_bundle(make).read_bytes() == DATA and len(server.ranges) == count


@pytest.mark.parametrize("status", [401, 404])
def test_what_is_not_there_is_not_asked_for_again(
    make: Download, server: Server, status: int
) -> None:
    server.statuses = [status, 200]
    with pytest.raises(SourceLost, match=f"the server answers {status}"):
        fetch_bundle(make)


def test_a_redirect_on_the_same_server_is_followed(make: Download, server: Server) -> None:
    server.redirect = "/moved.edgead"
    assert fetch_bundle(make).read_bytes() == DATA


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("https://example.invalid/x", "another server"),
        ("http://localhost/x", "another server"),
        ("https://[::1", "redirects to no address"),
        ("file:///etc/passwd", "302"),
        ("/7.edgead", "302"),
    ],
)
def test_other_redirects_are_refused(
    make: Download, server: Server, place: str, message: str
) -> None:
    server.redirect = place
    with pytest.raises(SourceLost, match=message):
        fetch_bundle(make)


@pytest.mark.parametrize("length", ["9" * 5000, "\xb2", "-1", "many"])
def test_a_length_that_is_none_counts_as_none(make: Download, server: Server, length: str) -> None:
    server.length = length
    assert fetch_bundle(make).read_bytes() == DATA


def test_compressed_content_is_refused(make: Download, server: Server) -> None:
    server.encoding = "gzip"
    with pytest.raises(SourceLost, match="compresses"):
        fetch_bundle(make)


def test_a_certificate_that_is_not_trusted_is_refused(make: Download) -> None:
    with pytest.raises(SourceLost, match=r"not trusted.*--ca FILE"):
        fetch_bundle(Download(make.url, make.folder, 1 << 20, make.wait))


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_of_certificates_that_is_none_is_named(
    make: Download, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"ca\.pem: no certificates in PEM"):
        fetch_bundle(Download(make.url, make.folder, 1 << 20, make.wait, ca=path))


def test_a_server_that_is_not_there_is_tried_again(make: Download, tmp_path: Path) -> None:
    waits: list[float] = []
    gone = Download(
        "https://127.0.0.1:1/x", tmp_path, 1 << 20, waits.append, ca=make.ca, attempts=3
    )
    with pytest.raises(SourceLost, match=r"no connection.*3 times"):
        fetch_bundle(gone)
    assert waits == [2.0, 4.0]


@pytest.mark.parametrize(
    "url", ["http://localhost/x", "ftp://localhost/x", "https://", "file:///x"]
)
def test_other_addresses_are_refused(make: Download, url: str) -> None:
    with pytest.raises(UsageError, match="expected https://HOST/FILE"):
        fetch_bundle(Download(url, make.folder, 1, make.wait))


def test_passwords_are_sent_and_not_shown(
    make: Download, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANT", "s3cret/")
    url = server.url.replace("127.0.0.1", "line:${ENV:PLANT}@127.0.0.1")
    server.statuses = [404]
    with pytest.raises(EdgeAdError) as info:
        fetch_bundle(Download(url, make.folder, 4 << 20, make.wait, ca=make.ca))
    assert "s3cret" not in str(info.value)
    assert server.authorization == "Basic bGluZTpzM2NyZXQv"
