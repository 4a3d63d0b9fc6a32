"""Options of `opcua://`, what the server is given, and what happens when it dies."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_ad.errors import MissingExtra, OutletLost, UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.opcua.settings import ServerSettings
from edge_ad.outlet import opcua, opcua_process
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.opcua import OpcUaOutlet
from edge_ad.outlet.opcua_feed import Feed, Message
from edge_ad.outlet.opcua_options import server_settings
from edge_ad.outlet.registry import check_outlet, open_outlet
from edge_ad.store.reading import EventFilter, read_events
from edge_ad.store.store import Store
from edge_ad.uri import split_uri
from tests.beside import Beside
from tests.timing import wait_until

SETTINGS = ServerSettings("127.0.0.1", 4840, "urn:x")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)


def settings(text: str) -> ServerSettings:
    return server_settings(split_uri(text, "options"))


@pytest.mark.usefixtures("installed")
def test_loopback_is_open_for_reading_and_nothing_else() -> None:
    for place, port in (("127.0.0.1", 4840), ("localhost:4841", 4841), ("[::1]:4842", 4842)):
        given = settings(f"opcua://{place}")
        assert (given.port, given.users, given.anonymous, given.plain) == (port, {}, True, True)
    assert given.url == "opc.tcp://[::1]:4842"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.7", "line7"])
def test_other_machines_need_users_and_a_certificate(host: str, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    for text in (host, f"{host}?anonymous=read", f"{host}?pki={pki}"):
        with pytest.raises(UsageError, match="reached from other machines"):
            settings(f"opcua://{text}")
    given = settings(f"opcua://me:long%20enough@{host}:4840?pki={pki}")
    assert given.users == {"me": "long enough"} and not given.anonymous and not given.plain
    assert given.certificate == str(pki / "certificate.pem")
    assert (pki / "key.pem").stat().st_mode & 0o777 == 0o600
    assert given.uri == settings(f"opcua://me:long%20enough@{host}:4840?pki={pki}").uri


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("me:long-enough@127.0.0.1", "encrypted connection only"),
        ("me:short@127.0.0.1?pki=x", "shorter than 8"),
        (":long-enough@127.0.0.1?pki=x", "has no name"),
        ("127.0.0.1:0", "port of 1 to 65535"),
        ("127.0.0.1:seven", "port of 1 to 65535"),
        ("127.0.0.1?anonymous=yes", "must be read or no"),
        ("127.0.0.1?stale_ms=0", "at least 50"),
        ("127.0.0.1?certificate=a.pem", "together with key"),
        ("127.0.0.1?certificate=a.pem&key=b.pem&pki=c", "or pki=DIR alone"),
        ("127.0.0.1?certificate=absent.pem&key=b.pem", "cannot be read"),
        ("127.0.0.1?users=absent.txt", "cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_explained(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        settings(f"opcua://{text}")
    assert "long-enough" not in str(error.value)


@pytest.mark.usefixtures("installed")
def test_users_are_read_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path, pki = tmp_path / "users", tmp_path / "pki"
    path.write_text("# shift 1\noperator:correct horse\n\nlead:a:colon in it\n")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        settings(f"opcua://127.0.0.1?users={path}&pki={pki}")
    path.chmod(0o600)
    given = settings(f"opcua://127.0.0.1?users={path}&pki={pki}")
    assert given.users == {"operator": "correct horse", "lead": "a:colon in it"}
    for text, message in (
        ("operator\n", "line 1.*the colon is missing"),
        ("a:long enough\na:long enough\n", "line 2.*is there twice"),
        ("# nobody\n", "has no users"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            settings(f"opcua://127.0.0.1?users={path}&pki={pki}")


@pytest.mark.usefixtures("installed")
def test_a_certificate_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    from edge_ad.opcua.certificate import own_certificate

    first, _ = own_certificate(tmp_path / "first", "localhost")
    _, other = own_certificate(tmp_path / "other", "localhost")
    with pytest.raises(UsageError, match="is not the RSA key of"):
        settings(f"opcua://127.0.0.1?certificate={first}&key={other}")
    with pytest.raises(UsageError, match="PEM form"):
        settings(f"opcua://127.0.0.1?certificate={other}&key={first}")


def test_a_missing_package_and_a_port_in_use_are_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"edge-ad\[opcua\]"):
        open_outlet("opcua://127.0.0.1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(opcua, "_LEFT_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OutletLost, match=r"cannot be opened \(Address already in use\)"):
            open_outlet(f"opcua://127.0.0.1:{taken.getsockname()[1]}")
    check_outlet("opcua://127.0.0.1")


def part(number: int, verdict: Verdict = Verdict.PASS, camera: str = "top") -> Inspection:
    return Inspection(verdict, 1.0, 0.5, part=number, camera=camera)


def alarm(step: AlarmStep, id: str = "a-1", frame: int = 1) -> AlarmEvent:
    kind = AlarmKind.DEFECT
    return AlarmEvent(step, id, kind, "", frame, 1, 1, 2.0, 0.5, camera="top", part=3)


def parts(messages: list[dict[str, object]]) -> list[object]:
    results = [each["result"] for each in messages if "result" in each]
    return [result["part"] for result in results if isinstance(result, dict)]


def test_rejects_all_wait_and_of_the_others_the_newest() -> None:
    feed = Feed("x")
    verdicts = {3: Verdict.REJECT, 4: Verdict.REJECT, 6: Verdict.INVALID}
    for number in range(1, 7):
        feed.result(part(number, verdicts.get(number, Verdict.PASS)))
    feed.result(part(7, camera="side"))
    messages = feed.take(0.0)
    assert parts(messages) == [3, 4, 6, 7]
    assert messages[2]["counts"] == {"PASS": 3, "REJECT": 2, "INVALID": 1}
    assert feed.take(0.0) == []


def test_what_waits_is_bounded_and_counted() -> None:
    feed = Feed("x")
    for number in range(1500):
        feed.result(part(number, Verdict.REJECT))
        feed.alarm(alarm(AlarmStep.NEW, f"a-{number}"))
        feed.alarm(alarm(AlarmStep.END, f"a-{number}"))
    messages = feed.take(0.0)
    assert parts(messages) == list(range(500, 1500))
    (last,) = [each["alarm"] for each in messages if "alarm" in each]
    assert (last["id"], last["event"]) == ("a-1499", "end")  # no alarm is left open
    assert feed.dropped == 500 + 2000


def test_updates_of_an_alarm_replace_each_other() -> None:
    feed = Feed("x")
    feed.alarm(alarm(AlarmStep.NEW))
    for frame in range(2, 50):
        feed.alarm(alarm(AlarmStep.UPDATE, frame=frame))
    assert [each["alarm"]["frame"] for each in feed.take(0.0)] == [1, 49]


def test_what_was_judged_before_a_pause_holds_no_more() -> None:
    feed = Feed("x")
    feed.result(part(1))
    feed.paused("top", paused=True)
    paused = {"camera": "top", "paused": True, "forget": True}
    assert feed.take(0.0) == [{"paused": paused}]
    assert feed.everything() == [{"cameras": []}, {"paused": paused}]
    feed.paused("top", paused=False)
    feed.result(part(2))
    first, second = feed.take(0.0)
    assert first == {"paused": {"camera": "top", "paused": False, "forget": False}}
    assert parts([second]) == [2]
    feed.paused("top", paused=True)
    feed.paused("top", paused=False)
    assert feed.take(0.0) == [{"paused": {"camera": "top", "paused": False, "forget": True}}]


def test_a_new_server_learns_everything() -> None:
    feed = Feed("x")
    feed.cameras(["top", "side"])
    feed.result(part(1, Verdict.REJECT))
    feed.alarm(alarm(AlarmStep.NEW))
    feed.acknowledged("a-1", "operator", "seen")
    feed.alarm(alarm(AlarmStep.END))
    cameras, result, step = feed.everything()
    assert cameras == {"cameras": ["top", "side"]}
    assert result["result"]["part"] == 1
    assert (step["alarm"]["event"], step["alarm"]["acked_by"]) == ("end", "operator")
    assert feed.take(0.0) == []


SERVER = """
import json, os, sys, time
json.loads(sys.stdin.readline())
print(json.dumps({"ready": "x"}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    print(json.dumps({"beat": 1}), flush=True)
    if "result" in message:
        print(json.dumps({"report": "part %s" % message["result"]["part"]}), flush=True)
        if message["result"]["verdict"] == "REJECT" and not os.path.exists("MARKER"):
            open("MARKER", "w").close()
            END
    if "stop" in message:
        sys.exit()
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Replace the server by a script; the argument is what it does with the first REJECT."""
    monkeypatch.setattr(opcua_process, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(opcua_process, "_STEADY_S", 0.0)

    def replace(end: str) -> None:
        script = SERVER.replace("END", end).replace("MARKER", str(tmp_path / "marker"))
        monkeypatch.setattr(opcua_process, "COMMAND", (sys.executable, "-S", "-c", script))

    return replace


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("sys.exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 9)", "signal SIGKILL"),
        ("print(json.dumps({'failed': 'no memory'}), flush=True); sys.exit(1)", "no memory"),
        ("time.sleep(60)", "has not answered"),
    ],
    ids=["exit", "killed", "failed", "hangs"],
)
def test_a_server_that_dies_is_one_fault_and_is_started_again(
    server: Callable[[str], None],
    end: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    server(end)
    if reason == "has not answered":
        monkeypatch.setattr(opcua_process, "_HANGS_S", 2.0)
    with closing(Store(tmp_path)) as store, caplog.at_level(logging.WARNING):
        outlet = OpcUaOutlet("opcua://x", SETTINGS)
        outlet.started(["top"], store)
        outlet.inspected(part(1), Evidence())
        wait_until(lambda: "part 1" in caplog.text)
        outlet.inspected(part(2, Verdict.REJECT), Evidence())
        wait_until(lambda: "It is started again" in caplog.text)
        monkeypatch.setattr(opcua_process, "_HANGS_S", 60.0)  # the next process may start slowly
        wait_until(lambda: caplog.text.count("part 2") > 1)  # again, to the next process
        outlet.inspected(part(3), Evidence())
        wait_until(lambda: "runs again" in caplog.text)
        outlet.close()
    faults = [
        (event["step"], event["reason"])
        for event in read_events(tmp_path, EventFilter(types=("outlet_fault",)))
    ]
    assert [step for step, _ in faults] == ["new", "end"]
    assert reason in faults[0][1] and faults[1][1] == "runs again"


def test_messages_of_two_threads_reach_the_server_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second thread answers what a client asked for while the line sends its results."""
    received: list[Message] = []

    def write_half(file: int, data: memoryview) -> int:
        written = write(file, data[: len(data) // 2 + 1])
        if len(data) > 1 and b"first" in bytes(data):
            second()
        return written

    monkeypatch.setattr(opcua_process, "COMMAND", ("cat",))  # it sends back what it reads
    server = opcua_process._Server(SETTINGS, received.append)
    second = Beside(lambda: server.send([{"answer": "second"}]))
    write = os.write
    monkeypatch.setattr("os.write", write_half)
    server.send([{"result": "first"}])
    second.result()
    wait_until(lambda: len(received) == 3 or not server._reader.is_alive())
    server.kill()
    assert received[1:] == [{"result": "first"}, {"answer": "second"}]


@pytest.mark.timeout(120)
def test_a_server_that_cannot_live_ends_as_a_fault(
    server: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server("")
    monkeypatch.setattr(
        opcua_process, "COMMAND", (sys.executable, "-S", "-c", "raise SystemExit(7)")
    )
    with closing(Store(tmp_path)) as store:
        outlet = OpcUaOutlet("opcua://x", SETTINGS)
        outlet.started(["top"], store)
        wait_until(lambda: store.flush(1) and list(_faults(tmp_path)))
        for number in range(100):
            outlet.inspected(part(number), Evidence())
        with pytest.raises(OSError, match="exit code 7"):
            outlet.close()
        outlet.close()
    assert [fault["step"] for fault in _faults(tmp_path)] == ["new", "end"]


def _faults(folder: Path) -> list[dict[str, object]]:
    return list(read_events(folder, EventFilter(types=("outlet_fault",))))
