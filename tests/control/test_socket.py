"""The control socket: real connections, and everything that clients can do wrong."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_ad.control.address import SOCKET, connect_to
from edge_ad.control.client import LineAway, RequestRefused, request
from edge_ad.control.messages import LONGEST_BYTES, MalformedMessage, parse_request
from edge_ad.control.refusals import Refusals
from edge_ad.control.server import ControlSocket, Limits
from edge_ad.errors import UsageError
from edge_ad.store.store import Store
from tests.control.lines import RunningLine, wait_for
from tests.timing import LIMIT_S


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningLine]:
    with RunningLine(tmp_path, "top", "side") as line:
        yield line


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLine]:
    with RunningLine(tmp_path_factory.mktemp("fuzzed"), "top") as line:
        yield line


def send(folder: Path, data: bytes, *, end: bool = False) -> dict[str, Any] | None:
    """Send bytes and return the first answer, None when the connection ends without one."""
    with connect_to(folder / SOCKET, LIMIT_S) as connection:
        with contextlib.suppress(BrokenPipeError):  # refused before: the answer is there
            connection.sendall(data)
        if end:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        try:
            line = connection.makefile("rb").readline()
        except ConnectionResetError:
            return None
    return json.loads(line) if line else None


def test_the_state_names_cameras_with_threshold_rule_and_counts(running: RunningLine) -> None:
    running.judge("top", "R.")
    state = request(running.folder, {"command": "state"})
    top, side = state["cameras"]
    assert (top["camera"], top["state"], top["threshold"]) == ("top", "judging", 0.5)
    assert (top["judged"], top["rejected"], side["state"]) == (2, 1, "waiting")
    assert top["rule"] == {"k": 2, "n": 3, "hysteresis": 0.1}
    assert top["last"]["verdict"] == "PASS" and state["refused_messages"] == 0


def test_commands_reach_the_line_and_who_is_the_user(running: RunningLine) -> None:
    message = {"command": "set_threshold", "camera": "top", "threshold": 2, "reason": "varnish"}
    (setting,) = request(running.folder, message)["settings"]
    assert (setting["old"], setting["new"], setting["kept"]) == (0.5, 2.0, True)
    assert setting["who"] == running.events("setting")[0]["who"] != ""
    assert running.judge("top", "R") == ["PASS"]
    undo = {"command": "undo", "camera": "top", "setting": "threshold"}
    assert request(running.folder, undo)["settings"][0]["new"] == 0.5
    rule = {"command": "set_rule", "camera": "side", "k": 1}
    assert request(running.folder, rule)["settings"][0]["new"]["k"] == 1
    paused = request(running.folder, {"command": "pause", "camera": "*"})["settings"]
    assert [setting["camera"] for setting in paused] == ["top", "side"]
    state = request(running.folder, {"command": "state"})
    assert [camera["state"] for camera in state["cameras"]] == ["paused", "paused"]
    assert state["cameras"][1]["set_by_hand"] == ["rule", "paused"]


def test_a_program_names_the_person_it_asks_for(running: RunningLine) -> None:
    message = {"command": "pause", "camera": "top", "by": "anna"}
    who = request(running.folder, message)["settings"][0]["who"]
    assert who == f"anna (through {getpass.getuser()})"
    request(running.folder, {"command": "resume", "camera": "top"})


def test_events_are_acknowledged(running: RunningLine) -> None:
    running.judge("top", "RR")
    wait_for(lambda: running.events("alarm"))
    alarm = running.events("alarm")[0]["alarm"]
    answer = request(running.folder, {"command": "acknowledge", "ids": [alarm, "1"]})
    assert answer["kept"] and running.events("alarm")[0]["acknowledged"] == answer["who"]
    with pytest.raises(RequestRefused, match="has no event '4711'"):
        request(running.folder, {"command": "acknowledge", "ids": ["4711"]})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"command": "pause", "camera": "tpo"}, "no camera 'tpo'. It has: top, side"),
        ({"command": "set_threshold", "threshold": 1}, "which camera"),
        ({"command": "set_rule", "camera": "top"}, "a rule needs k, n or hysteresis"),
        ({"command": "trigger", "camera": "top"}, "no software trigger"),
    ],
)
def test_what_the_line_has_not_is_refused_without_an_event(
    running: RunningLine, message: dict[str, object], reason: str
) -> None:
    with pytest.raises(RequestRefused, match=reason) as refused:
        request(running.folder, message)
    assert refused.value.exit_code == 2 and running.events("control") == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 60_000, "JSON"),
        (b"9" * 5000, "JSON"),
        (b"[]", "not one JSON object"),
        (b"{}", "command"),
        (b'{"command": "explode"}', "explode"),
        (b'{"command": "state", "state": 1}', "state: unknown field"),
        (b'{"command": "state", "command": "pause"}', "stands twice"),
        (b'{"command": "set_threshold", "threshold": "0.5"}', "threshold: "),
        (b'{"command": "set_threshold", "threshold": true}', "threshold: "),
        (b'{"command": "set_threshold", "threshold": NaN}', "NaN"),
        (b'{"command": "set_threshold", "threshold": 1e999}', "threshold: "),
        (b'{"command": "set_threshold"}', "threshold: "),
        (b'{"command": "set_rule", "k": 0}', "k: "),
        (b'{"command": "set_rule", "hysteresis": 2}', "hysteresis: "),
        (b'{"command": "acknowledge", "ids": []}', "ids: "),
        (b'{"command": "pause", "camera": 5}', "camera: "),
        (b'{"command": "pause", "reason": "' + b"x" * 501 + b'"}', "reason: "),
        (b'{"command": "pause", "reason": "two\\nlines"}', "reason: "),
        (b'{"command": "state", "\\u001b[2J": 1}', r"\?\[2J: unknown field"),
        ('{"command": "state"}'.encode("utf-16"), "can't decode"),
    ],
)
def test_a_message_has_known_keys_of_their_types(line: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        parse_request(line)


def test_malformed_messages_are_reported_once_and_the_connection_stays(
    running: RunningLine,
) -> None:
    with connect_to(running.folder / SOCKET, LIMIT_S) as connection:
        answers = connection.makefile("rb")
        for line in (b"nonsense\n", b'{"command": 1}\n', b"\n"):
            connection.sendall(line)
            assert json.loads(answers.readline())["ok"] is False
        connection.sendall(b'{"command": "state"}\n{"command": "state"}\n')
        states = [json.loads(answers.readline()) for _ in range(2)]
    assert [state["refused_messages"] for state in states] == [3, 3]
    wait_for(lambda: running.events("control"))
    (event,) = running.events("control")
    assert event["step"] == "refused" and "JSON" in event["reason"] and event["who"]


def test_an_oversized_message_ends_the_connection(running: RunningLine) -> None:
    answer = send(running.folder, b"x" * (LONGEST_BYTES + 5000))
    assert answer is None or "more than 65536 bytes" in answer["error"]
    wait_for(lambda: running.events("control"))
    assert "more than 65536 bytes" in running.events("control")[0]["reason"]
    assert running.judge("top", ".") == ["PASS"]


def test_a_message_without_an_end_is_refused(running: RunningLine) -> None:
    answer = send(running.folder, b'{"command": "state"}', end=True)
    assert answer is not None and "without an end" in answer["error"]


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_WRONG = (
    st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"") + b"\n")
    | st.dictionaries(st.text(max_size=8), _VALUES, max_size=4).map(
        lambda content: json.dumps({**content, "command": "stat"}).encode() + b"\n"
    )
    | _VALUES.map(lambda value: json.dumps({"command": "set_threshold", "threshold": [value]}))
    .map(str.encode)
    .map(lambda data: data + b"\n")
    | st.binary(min_size=1, max_size=100).map(lambda data: data.replace(b"\n", b"x"))
    | st.just(b"y" * (LONGEST_BYTES + 1))
)


@pytest.mark.slow
@given(data=_WRONG)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_sent_the_line_goes_on(fuzzed: RunningLine, data: bytes) -> None:
    answer = send(fuzzed.folder, data, end=True)
    assert answer is None or answer["ok"] is False
    assert fuzzed.judge("top", ".") == ["PASS"]
    assert len(fuzzed.events("control")) <= 1 and fuzzed.events("setting") == []


def test_clients_that_do_not_end_or_read_hinder_nobody(tmp_path: Path) -> None:
    answered = threading.Event()

    def answer(message: object, who: str) -> dict[str, Any]:
        answered.set()
        return {"text": "x" * 4_000_000}  # more than a socket's buffer

    reports: list[str] = []
    refusals = Refusals(lambda user, reason, count: reports.append(reason))
    limits = Limits(clients=3, idle_s=0.3, message_s=0.3, answer_s=0.3)
    with ControlSocket(tmp_path, answer, refusals, limits) as server:
        silent, half, deaf = (connect_to(server.path, LIMIT_S) for _ in range(3))
        half.sendall(b'{"command": ')
        deaf.sendall(b'{"command": "state"}\n')
        assert answered.wait(LIMIT_S)
        assert half.recv(10_000).startswith(b'{"ok": false')  # after its time
        assert silent.recv(10) == b""
        for connection in (silent, half, deaf):
            connection.close()
    assert reports == ["a message that did not end in time"]


def test_one_client_too_many_is_told_so(tmp_path: Path) -> None:
    refusals = Refusals(lambda user, reason, count: None)
    with ControlSocket(tmp_path, lambda *_: {}, refusals, Limits(clients=1)) as server:
        with connect_to(server.path, LIMIT_S) as first:
            first.sendall(b'{"command": "state"}\n')
            assert json.loads(first.makefile("rb").readline()) == {"ok": True}
            second = send(tmp_path, b"")
            assert second is not None and "more than 1 clients" in second["error"]
    assert refusals.count == 1


def test_a_client_for_whom_no_thread_is_left_is_not_the_last(
    running: RunningLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoneLeft(threading.Thread):
        def start(self) -> None:
            if self.name == "control client":
                raise RuntimeError("can't start new thread")
            super().start()

    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", NoneLeft)
        for _ in range(20):  # more than there are places
            answer = send(running.folder, b"")
            assert answer is not None and "cannot be served now" in answer["error"]
    answer = send(running.folder, b'{"command": "state"}\n')
    assert answer is not None and answer["ok"]


def test_the_socket_is_its_users_and_goes_with_the_line(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as running:
        mode = (tmp_path / SOCKET).stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        assert request(tmp_path, {"command": "state"})["folder"] == str(running.folder)
    assert not (tmp_path / SOCKET).exists()
    with pytest.raises(LineAway, match="no line runs in"):
        request(tmp_path, {"command": "state"})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_is_refused_even_where_the_file_allows_it(running: RunningLine) -> None:
    for folder in (running.folder, *running.folder.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    (running.folder / SOCKET).chmod(0o666)
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child needs none of the threads
        child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            os.write(write, json.dumps(send(running.folder, b"")).encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        assert b"not allowed" in pipe.read()
    wait_for(lambda: running.events("control"))
    (event,) = running.events("control")
    assert event["who"] in ("nobody", "user 65534") and "not allowed" in event["reason"]


def test_a_dead_lines_socket_is_replaced_and_anothers_file_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / SOCKET))
    dead.close()
    with RunningLine(tmp_path, "top"):
        assert request(tmp_path, {"command": "state"})["type"] == "state"
    (tmp_path / SOCKET).write_text("mine")
    with RunningLine(tmp_path, "top") as running:
        assert running.judge("top", ".") == ["PASS"]
        assert "no control socket" in caplog.text
    assert (tmp_path / SOCKET).read_text() == "mine"


def test_a_second_line_does_not_take_the_socket_of_the_first(running: RunningLine) -> None:
    with pytest.raises(UsageError, match="another line"):
        Store(running.folder)
    assert request(running.folder, {"command": "state"})["type"] == "state"


def test_a_path_longer_than_an_address_works(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    folder.mkdir(parents=True)
    assert len(str(folder)) > 150
    with RunningLine(folder, "top"):
        assert request(folder, {"command": "state"})["type"] == "state"
        assert stat.S_IMODE((folder / SOCKET).stat().st_mode) == 0o600
    assert not (folder / SOCKET).exists()
