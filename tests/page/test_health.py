"""Health, settings and the audit trail, of a line that runs and of one that has ended."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from edge_ad.opcua.certificate import own_certificate, valid_until
from edge_ad.outlet.base import OfCameras
from edge_ad.outlet.registry import open_outlet
from edge_ad.page.certificates import CertificateWatch, certificate_ends, end_of
from edge_ad.page.person import Person, Role
from edge_ad.store.drift import write_drift
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.notes import mark
from edge_ad.store.outbox import DeadLetter, Subscription, read_outbox, settle, subscribe
from tests.control.lines import RunningLine
from tests.outlet.web import certificate
from tests.page.served import Tab, served
from tests.store.weeks import writing

XSS = "<b>x</b>\"'"


def rows(text: str) -> list[list[str]]:
    body = text.partition("<tbody>")[2]
    found = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [[re.sub(r"<[^>]+>", "", c).strip() for c in row.split("</td>")[:-1]] for row in found]


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """Return a line that has ended, whose outlet has one dead letter and one event waiting."""
    folder = tmp_path / "line"
    with writing(folder) as line:
        subscribe(line.connection, [Subscription(f"https://mes/{XSS}", ("reject",))])
        dead = line.reject("06:00")
        line.reject("06:01")
        letter = DeadLetter(9, f"404 {XSS}")
        settle(line.connection, f"https://mes/{XSS}", [], {dead: letter})
    (folder / "evidence").mkdir()
    (folder / "evidence" / "part-00000001.jpg").write_bytes(b"x" * 2048)
    return folder


def test_a_line_that_has_ended_shows_what_it_left(ended: Path) -> None:
    with served(ended) as page:
        text = page.get("/health").text
    assert "No line runs in this folder." in text
    assert '<td class="n">2\u202fKiB</td><td class="n">1</td>' in text
    assert "<b>x</b>" not in text and "https://mes/&lt;b&gt;" in text
    assert "edge-ad" in text and re.search(r"<dt>Python</dt><dd>3\.", text)


def test_dead_letters_wait_again_or_are_forgotten_in_the_name_of_who_asks(ended: Path) -> None:
    name = f"https://mes/{XSS}"
    with served(ended) as page:
        answer = page.post("/outbox", {"outlet": name, "do": "retry"})
        assert answer.json == {"done": "retry", "events": 1}
        assert read_outbox(ended)[0]["waiting"] == 2
        assert page.post("/outbox", {"outlet": name, "do": "drop"}).json["events"] == 0
        audit = rows(page.get("/audit").text)
    assert audit[0][1:5] == ["anna", "Outbox changed", "https://mes/&lt;b&gt;x&lt;/b&gt;&#34;&#39;",
                             "sent again"]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/outbox", {"outlet": "nobody", "do": "retry"}, 400),
        ("/outbox", {"outlet": "nobody", "do": "eat"}, 400),
        ("/outbox", {}, 400),
        ("/cameras/pause", {"camera": "top", "do": "stop"}, 400),
        ("/cameras/pause", {"camera": "top", "do": "pause"}, 503),
        ("/cameras/rule", {"camera": "top", "k": 1, "n": 2, "hysteresis": 0.1}, 400),
        ("/cameras/rule", {"camera": "top", "reason": "x", "k": 1.5, "n": 2, "hysteresis": 0}, 400),
        ("/cameras/rule", {"camera": "top", "reason": "x", "k": "many"}, 400),
    ],
)
def test_what_cannot_be_done_says_why(
    ended: Path, path: str, body: dict[str, Any], status: int
) -> None:
    with served(ended) as page:
        answer = page.post(path, body)
        assert answer.status == status and answer.json["error"]


def test_what_has_drifted_is_said_until_it_is_as_before(tmp_path: Path) -> None:
    state = {"centre": 118.2, "now": 96.4, "test": {"since": "2026-11-28T06:10Z"}}
    with writing(tmp_path) as line:
        write_drift(line.connection, ("top", "brightness", "2026-11-28T06:20Z", state))
        write_drift(line.connection, (XSS, "score", "2026-11-28T06:20Z", {"test": {"since": ""}}))
    with served(tmp_path) as page:
        text = page.get("/health").text
    assert "brightness of camera top: 118 before, 96.4 since 2026-11-28" in text
    assert text.count("before,") == 1


def test_certificates_say_when_they_end(tmp_path: Path) -> None:
    folder, now = tmp_path / "line", datetime.now(timezone.utc)
    with writing(folder):
        pass
    own, _ = own_certificate(folder / "pki", "localhost")
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nno\n")
    (folder / "note.pem").write_text("no certificate at all")
    ends = {end.name: end.state for end in certificate_ends(folder, own)}
    assert ends == {str(own): "ok", "broken.pem": "unread"}
    until = valid_until(own)
    assert timedelta(days=3600) < until - now < timedelta(days=3700)
    for age, state in ((until - timedelta(days=29), "soon"), (until, "over")):
        assert end_of(own, "x", age).state == state
    with served(folder) as page:
        text = page.get("/health").text
    assert "<dt>pki/certificate.pem</dt>" in text and "valid until 20" in text
    assert "cannot be read" in text and "key.pem" not in text


def test_certificates_that_outlets_name_are_warned_about(tmp_path: Path) -> None:
    ended, soon, fine = (certificate(tmp_path, days=days) for days in (-1, 20, 300))
    many = tmp_path / "many.pem"  # trusted until the last one ends
    many.write_bytes(ended.read_bytes() + fine.read_bytes())
    (tmp_path / "line").mkdir()
    with RunningLine(tmp_path / "line", "top") as line:
        hook = open_outlet(f"https://mes.local/x#cert={soon}&ca={many}&secret=quiet")
        line.line.outlets.add(OfCameras(hook, frozenset({"top"})))
        with served(tmp_path / "line", certificate=ended) as page, Tab(page) as tab:
            text = page.get("/health").text
            problems = [problem["reason"] for problem in tab.next()["problems"]]
    for shown in (f"<dt>{ended}</dt>", f"<dt>{many}<br>", f"<dt>{soon}<br>", "mes.local/x"):
        assert shown in text
    states = re.findall(r"(has ended|ends soon|valid until)", text)
    assert states == ["has ended", "valid until", "ends soon"]
    assert [problem.partition(", on")[0] for problem in problems] == [
        f"{ended}: has ended",
        f"{soon}: ends soon",
    ]
    assert "(https://mes.local/x)" in problems[1] and "quiet" not in text


def test_certificates_are_looked_at_once_a_minute(tmp_path: Path) -> None:
    now_s = [0.0]
    watch = CertificateWatch(tmp_path, None, lambda: now_s[0])
    assert watch.ending(()) == []
    made = certificate(tmp_path, days=1)
    assert watch.ending(()) == []
    now_s[0] = 61.0
    assert [(one.name, one.state) for one in watch.ending(())] == [(made.name, "soon")]
    made.unlink()
    (named,) = watch.ending([{"file": str(certificate(tmp_path)), "use": "own", "outlet": "mes"}])
    assert named.outlet == "mes"  # another line is looked at at once


def test_cameras_are_paused_and_their_rule_changed_from_the_page(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as line, served(tmp_path) as page:
        line.judge("top", ".R")
        assert "Judging" in page.get("/health").text
        paused = page.post("/cameras/pause", {"camera": "top", "do": "pause", "reason": "wash"})
        assert paused.json["settings"][0]["new"] is True
        assert "Paused" in page.get("/health").text
        page.post("/cameras/pause", {"camera": "top", "do": "resume"})
        rule = {"camera": "top", "k": "1", "n": "4", "hysteresis": "0.2", "reason": "dust"}
        new = page.post("/cameras/rule", rule).json["settings"][0]["new"]
        assert new == {"k": 1, "n": 4, "hysteresis": 0.2}
        text = page.get("/health").text
        assert "1 of 4 frames, hysteresis 0.2" in text and "set by hand" in text
        back = page.post("/cameras/rule", {"camera": "top", "do": "undo", "reason": "clean"})
        assert back.json["settings"][0]["new"]["n"] == 3
        assert page.post("/cameras/rule", rule | {"k": 9}).status == 409  # 9 of 4
        audit = rows(page.get("/audit").text)
    assert [row[4] for row in audit] == [
        "1 of 4, hysteresis 0.2 \u2192 2 of 3, hysteresis 0.1 (undone)",
        "2 of 3, hysteresis 0.1 \u2192 1 of 4, hysteresis 0.2",
        "yes \u2192 no",
        "no \u2192 yes",
    ]
    assert [row[5] for row in audit] == ["clean", "dust", "", "wash"]
    assert all(row[1].startswith("anna (through ") for row in audit)


def test_the_audit_trail_has_marks_refusals_and_pages(tmp_path: Path) -> None:
    folder = tmp_path / "line"
    with writing(folder) as line:
        seq = line.reject("06:00", camera=XSS)
        event = StoreEvent(EventType.CONTROL, "refused", who=XSS, reason=XSS, count=3)
        insert(line.connection, event)
    mark(folder, [str(seq)], "real", "ann", "scratch")
    with writing(folder) as line:
        for _ in range(60):
            insert(line.connection, StoreEvent(EventType.ACK, who="bob", refers=seq))
    with served(folder) as page:
        text = page.get("/audit").text
        assert len(rows(text)) == 50 and "<b>x" not in text
        (older,) = re.findall(r'rel="next" href="([^"]+)"', text)
        rest = rows(page.get(older.replace("&amp;", "&")).text)
        assert [row[1] for row in rest[-2:]] == ["ann", "&lt;b&gt;x&lt;/b&gt;&#34;&#39;"]
        assert rest[-2][4:] == ["real defect", "scratch"]
        assert len(rows(page.get("/audit?what=control").text)) == 1
        assert page.get("/audit?what=everything").status == 400


def test_an_operator_pauses_but_changes_no_rule(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as line:
        line.judge("top", ".")
        with served(tmp_path, local=Person("ben", Role.OPERATOR)) as page:
            assert page.post("/cameras/pause", {"camera": "top", "do": "pause"}).status == 200
            assert page.post("/cameras/rule", {"camera": "top"}).status == 403
            assert page.post("/outbox", {"outlet": "x", "do": "drop"}).status == 403
            text = page.get("/health").text
            assert "/cameras/pause" in text and "/cameras/rule" not in text
        with served(tmp_path, local=Person("vic", Role.VIEWER)) as page:
            assert page.post("/cameras/pause", {"camera": "top", "do": "resume"}).status == 403
            assert "<form data-post" not in page.get("/health").text
