"""`edge-ad run` with durable outlets, and `edge-ad outbox`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeEngine, invoke
from tests.timing import LIMIT_S

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliver what waits at the end of a line on a busy computer too."""
    monkeypatch.setattr("edge_ad.outlet.delivery._DRAIN_S", LIMIT_S)


@pytest.fixture
def line(make_engine: MakeEngine, make_folder: MakeFolder) -> list[object]:
    """Return a command that raises one alarm."""
    parts = make_folder("parts", 12, bright=(3, 4, 5))
    return ["run", "--camera", parts, "--engine", make_engine()]


def script(tmp_path: Path, code: str) -> str:
    path = tmp_path / "script.py"
    path.write_text(code)
    return f"exec:{sys.executable} -S {path}"


def test_a_durable_outlet_without_an_output_folder_is_refused(
    tmp_path: Path, line: list[object]
) -> None:
    done = invoke(*line, "--outlet", script(tmp_path, ""))
    assert done.returncode == 2 and "Give a folder with -o DIR" in done.stderr


def test_an_outlet_given_twice_is_refused(tmp_path: Path, line: list[object]) -> None:
    outlet = script(tmp_path, "")
    done = invoke(
        *line, "--outlet", outlet, "--outlet", outlet + "#events=all", "-o", tmp_path / "o"
    )
    assert done.returncode == 2 and "is given twice" in done.stderr
    assert not (tmp_path / "o").exists()


def test_alarms_reach_a_command_and_the_summary_counts_them(
    tmp_path: Path, line: list[object]
) -> None:
    outlet = script(tmp_path, "import sys; open(sys.argv[0] + 'l', 'a').write(input() + '\\n')")
    done = invoke(*line, "--outlet", outlet, "-o", tmp_path / "o", "--json", "--part", "stream")
    summary = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0
    (counts,) = summary["outbox"]
    assert counts == {"outlet": outlet, "delivered": counts["delivered"], "dead": 0, "waiting": 0}
    got = [json.loads(record) for record in (tmp_path / "script.pyl").read_text().splitlines()]
    kept = [json.loads(record) for record in invoke(
        "events", tmp_path / "o", "--type", "alarm", "--json"
    ).stdout.splitlines()]  # fmt: skip
    assert got == kept and len(got) == counts["delivered"] > 1


def test_what_is_refused_or_waits_is_listed_retried_and_dropped(
    tmp_path: Path, line: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    outlet, folder = script(tmp_path, "raise SystemExit(75)"), tmp_path / "o"
    monkeypatch.setattr("edge_ad.outlet.delivery._HOPELESS_S", 0.05)
    done = invoke(*line, "--outlet", outlet, "-o", folder)
    assert done.returncode == 0 and "wait for the next start (exit code 75)" in done.stdout
    (state,) = map(json.loads, invoke("outbox", folder, "--json").stdout.splitlines())
    assert state["waiting"] >= 2 and state["active"] and state["error"] == "exit code 75"
    text = invoke("outbox", folder).stdout
    assert f"{state['waiting']} waiting, the oldest since" in text and "exit code 75" in text
    assert invoke("outbox", folder, "--retry").stdout == "0 events wait to be delivered again\n"
    dropped = invoke("outbox", folder, "--drop", "--waiting", "--who", "anna", "--json").stdout
    assert json.loads(dropped)["count"] == state["waiting"]
    noted = invoke("events", folder, "--type", "outbox", "--json").stdout
    assert json.loads(noted)["who"] == "anna"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--retry", "--drop"], "--retry and --drop exclude each other"),
        (["--waiting"], "--waiting has no effect without --drop"),
        (["--who", "anna"], "--who has no effect"),
        (["--outlet", "mqtt://x"], "has no outlet 'mqtt://x'. It has: none"),
        (["--outlet", "mqtt://x", "--retry"], "has no outlet 'mqtt://x'"),
    ],
)
def test_a_wrong_outbox_command_says_why(
    tmp_path: Path, line: list[object], options: list[str], message: str
) -> None:
    invoke(*line, "--frames", 1, "-o", tmp_path / "o")
    done = invoke("outbox", tmp_path / "o", *options)
    assert done.returncode == 2 and message in done.stderr


def test_a_folder_without_a_store_has_no_outbox(tmp_path: Path) -> None:
    done = invoke("outbox", tmp_path)
    assert done.returncode == 2 and "has no line.db" in done.stderr
