"""Outlets by URI: built in, and from installed packages."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from edge_ad.errors import MissingExtra, OutletLost, UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.machine.features import extra_features
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.registry import (
    OUTLETS,
    OutletKind,
    check_outlet,
    open_outlet,
    outlet_help,
    outlet_in_folder,
)
from edge_ad.uri import UriKind
from tests.conftest import ROOT

EVENT = AlarmEvent(AlarmStep.NEW, "a", AlarmKind.DEFECT, "cam", 3, 3, 3, 0.9, 0.5)
KINDS = pytest.mark.parametrize("kind", OUTLETS, ids=lambda kind: kind.schemes[0])


def test_a_file_receives_alarm_events_only_and_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        outlet = open_outlet(f"file:{tmp_path / 'alarms.jsonl'}")
        outlet.inspected(Inspection(Verdict.PASS, 0.1, 0.5), Evidence())
        outlet.alarmed(EVENT, Evidence())
        outlet.close()
    records = [json.loads(line) for line in (tmp_path / "alarms.jsonl").read_text().splitlines()]
    assert [(record["type"], record["id"]) for record in records] == [("alarm", "a")] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fil:a.jsonl", r"unknown outlet scheme 'fil:'\. Did you mean file:\?"),
        ("carrier-pigeon://loft", "The known ones are: file:"),
        ("alarms.jsonl", r"'alarms\.jsonl' has no scheme\. Expected one of: file:"),
    ],
)
def test_an_unknown_scheme_names_the_known_ones(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_outlet(text)


def test_a_file_that_cannot_be_opened_is_a_lost_outlet(tmp_path: Path) -> None:
    with pytest.raises(OutletLost, match=r"cannot be opened \(No such file or directory\)"):
        open_outlet(f"file:{tmp_path / 'none' / 'alarms.jsonl'}")


def test_a_port_that_a_running_line_has_is_named_as_such() -> None:
    pytest.importorskip("pymodbus")
    with socket.create_server(("127.0.0.1", 0)) as line:
        uri = f"modbus-tcp://127.0.0.1:{line.getsockname()[1]}"
        with pytest.raises(OutletLost, match="a running line perhaps: end it, or give another"):
            open_outlet(uri)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modbus-tcp://:5020?words=middle", "must be big or little"),
        ("modbus-client://10.0.0.9/first", "expected HOST:PORT/ADDRESS"),
        ("gpio://17", "expected CHIP/LINE"),
        ("gpio://gpiochip0/1?pulse_ms=99999999999999", "must be at most 1e"),
        ("modbus-tcp://:5020#handshake=1", "nothing after it, got '#handshake=1'"),
        ("modbus-client://10.0.0.9/1?unit=1&unit=2", "option unit is there twice"),
    ],
)
def test_a_check_reads_a_uri_and_opens_nothing(text: str, message: str) -> None:
    pytest.importorskip("gpiod")
    pytest.importorskip("pymodbus")
    with pytest.raises(UsageError, match=message):
        check_outlet(text)
    for good in ("modbus-tcp://1.2.3.4:1", "modbus-client://10.0.0.9", "gpio://gpiochip99/1"):
        check_outlet(good)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file:/none/alarms.jsonl", "cannot be written"),
        ("exec:no-such-program-here", "there is no command"),
        ("https://mes.local/alarms#template=fax", "option template must be"),
        ("https://mes.local/alarms#events=lunch", "lunch"),
        ("https://mes.local/alarms#secret=abc&Template=slack", "is not a list of options"),
        ("https://mes.local/alarms#secret=a#b", "is not a list of options"),
        ("https://mes.local/alarms#bearer=x&secret=a&secret=b", "option secret is there twice"),
    ],
)
def test_a_check_finds_what_opening_would_refuse(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_outlet(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://mes.local/${ENV:TOKEN}#foo=1",
        "https://mes.local/${ENV:TOKEN}#Foo=1",
        "exec:echo ${ENV:TOKEN}#foo=1",
        "exec:${ENV:TOKEN}",
        "${ENV:TOKEN}",
        "${ENV:TOKEN}:rest",
    ],
)
def test_a_wrong_uri_is_refused_without_its_secret(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "very-secret")
    with pytest.raises(UsageError, match=r"ENV:TOKEN|mes\.local") as caught:
        check_outlet(text)
    assert "very-secret" not in str(caught.value)


def test_a_broker_takes_no_options_after_a_hash() -> None:
    pytest.importorskip("paho.mqtt")
    with pytest.raises(UsageError, match=r"options follow a \?"):
        check_outlet("mqtt://broker.local/hall#discovery=homeassistant")


def test_a_server_takes_no_path() -> None:
    pytest.importorskip("asyncua")
    with pytest.raises(UsageError, match="nothing after it, got '/line'"):
        check_outlet("opcua://127.0.0.1:4840/line")


def test_a_check_makes_no_file(tmp_path: Path) -> None:
    pytest.importorskip("asyncua")
    check_outlet(f"file:{tmp_path / 'alarms.jsonl'}")
    check_outlet(f"opcua://line:long%20enough@0.0.0.0:4840?pki={tmp_path / 'pki'}")
    with pytest.raises(UsageError, match="users and a certificate are needed"):
        check_outlet(f"opcua://0.0.0.0:4840?pki={tmp_path / 'pki'}")
    with pytest.raises(UsageError, match="cannot be read"):
        check_outlet(f"opcua://127.0.0.1?pki={tmp_path / 'pki'}&users={tmp_path / 'users'}")
    assert not list(tmp_path.iterdir())


@KINDS
def test_an_entry_is_opened_explained_and_documented(kind: OutletKind) -> None:
    try:
        assert callable(kind.load_opener())
    except MissingExtra:
        assert kind.extra
    assert kind.prefixes[0] in outlet_help()
    options = "; ".join(f"`{name}`: {text}" for name, text in kind.options.items())
    durable = " (durable)" if kind.durable else ""
    row = f"| `{kind.example}` | {kind.description}{durable} | {options} |"
    assert row in (ROOT / "docs" / "outlets.md").read_text()


@KINDS
def test_doctor_names_the_extra_of_an_outlet(kind: UriKind) -> None:
    missing = {kind.extra: ["some-package"]} if kind.extra else {}
    assert len(list(extra_features(missing))) == len(missing)


def test_a_secret_is_a_reference_wherever_it_could_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORD", "hunter2")
    outlet = open_outlet("exec:sh -c ${ENV:WORD}")
    assert outlet.name == "exec:sh -c ${ENV:WORD}"
    monkeypatch.setenv("HOOK", "exec:sh -c hunter2")
    assert open_outlet("${ENV:HOOK}").name == "${ENV:HOOK}"
    monkeypatch.setenv("HOOK", "exec:sh -c 'hunter2#timeout_s=5")
    with pytest.raises(UsageError) as raised:
        open_outlet("${ENV:HOOK}")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "placed"),
    [
        ("file:a.jsonl", "file:/line/a.jsonl"),
        ("exec:./notify a/b#timeout_s=3", "exec:/line/./notify a/b#timeout_s=3"),
        ("exec:notify a/b", "exec:notify a/b"),
        ("exec:/bin/notify", "exec:/bin/notify"),
        (
            "https://h/x?ca=a#ca=my%20ca.pem&bearer=b",
            "https://h/x?ca=a#ca=/line/my%20ca.pem&bearer=b",
        ),
        ("mqtts://h/p?ca=/abs.pem&cert=c%FF.pem", "mqtts://h/p?ca=/abs.pem&cert=/line/c%FF.pem"),
        ("https://h/x", "https://h/x"),
    ],
)
def test_paths_of_an_outlet_are_relative_to_its_file(text: str, placed: str) -> None:
    assert outlet_in_folder(text, Path("/line")) == placed
