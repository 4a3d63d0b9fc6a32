"""`edge-ad page`: what it refuses, users, and its process."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.cli.run_page import RunPage
from edge_ad.page.person import Role
from edge_ad.page.server import open_listener
from edge_ad.page.users import UserFile
from tests.conftest import invoke
from tests.control.lines import wait_for
from tests.page.served import ServedPage, Tab, make_store, user_file
from tests.timing import LIMIT_S


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--listen", "0.0.0.0:0"], "Missing: a certificate: --cert FILE --key FILE; a user:"),
        (["--listen", "[::]:0"], "which needs TLS and a login"),
        (["--listen", "8080x"], "is not an address to listen on"),
        (["--listen", "127.0.0.1:65536"], "is not an address to listen on"),
        (["--cert", "none.pem"], "there is no file 'none.pem'"),
        (["--key", "none.pem"], "--key belongs to a certificate"),
        (["--users", "none.yaml"], "none.yaml: cannot be read"),
        (["--add-user", "anna"], "--add-user NAME and --role belong together"),
        (["--role", "admin"], "--add-user NAME and --role belong together"),
    ],
)
def test_what_is_unfit_is_refused_before_it_listens(
    options: list[str], reason: str, tmp_path: Path
) -> None:
    done = invoke("page", make_store(tmp_path), *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


def test_users_do_not_replace_tls(tmp_path: Path) -> None:
    user_file(make_store(tmp_path), anna="admin")
    done = invoke("page", tmp_path, "--listen", "0.0.0.0:0")
    assert done.returncode == 2
    assert "Missing: a certificate: --cert FILE --key FILE. Or listen" in done.stderr


@pytest.mark.parametrize(("users", "warnings"), [({}, 1), ({"anna": "admin"}, 0)])
def test_a_page_for_a_proxy_without_users_is_warned_of(
    users: dict[str, str], warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_store(tmp_path)
    if users:
        user_file(tmp_path, **users)
    with open_listener("127.0.0.1", 0) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = invoke("page", tmp_path, "--listen", address, "--allowed-host", "line1")
    assert done.returncode == 6
    assert caplog.text.count("whoever reaches it through a proxy is an admin") == warnings


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    done = invoke("page", tmp_path)
    assert done.returncode == 2 and "has no line.db" in done.stderr


def test_a_user_is_added_with_a_password_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_store(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long password\n"))
    done = invoke("page", tmp_path, "--add-user", "anna", "--role", "viewer", "--json")
    assert json.loads(done.stdout)["name"] == "anna"
    assert UserFile(tmp_path / "page-users.yaml").read()["anna"].role is Role.VIEWER
    assert "a long password" not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_page_ends_on_request_with_tabs_that_do_not_close(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_ad", "page", str(make_store(tmp_path))]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with Tab(ServedPage(int(url.rsplit(":", 1)[1].strip("/")))) as tab:
            tab.next()
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--page", "127.0.0.1:8080"], "Give one with -o DIR"),
        (["--page", "0.0.0.0:8080", "-o", "x"], "a line serves its page to this computer"),
        (["--page", "here", "-o", "x"], "is not an address to listen on"),
    ],
)
def test_a_line_serves_its_page_to_its_computer_only(options: list[str], reason: str) -> None:
    done = invoke("run", "--camera", "pattern://", "--engine", "x.onnx", *options)
    assert done.returncode == 2 and reason in done.stderr


@pytest.mark.slow
def test_the_page_of_a_line_ends_with_it(tmp_path: Path) -> None:
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    page = RunPage(f"127.0.0.1:{port}")
    page.start(make_store(tmp_path))
    wait_for(lambda: is_served(port))
    assert ServedPage(port).get("/").status == 200
    page.stop()
    assert not is_served(port)


def test_a_line_goes_on_without_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "absent"))
    page = RunPage("127.0.0.1:8080")
    page.start(tmp_path)
    page.stop()
    assert "the page cannot be started" in caplog.text


def is_served(port: int) -> bool:
    with contextlib.closing(socket.socket()) as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
