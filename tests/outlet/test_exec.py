"""exec: a command for each event, its input, its time limit and what its exit code means."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from edge_ad.errors import Refused, UsageError
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.registry import open_outlet
from tests.timing import wait_until

RECORD = {"seq": 7, "id": "store-7", "type": "alarm", "regions": [{"x": 1}] * 20_000}


def command(tmp_path: Path, code: str, options: str = "") -> DurableOutlet:
    script = tmp_path / "script.py"
    script.write_text(code)
    outlet = open_outlet(f"exec:{sys.executable} -S '{script}' a#{options}")
    assert isinstance(outlet, DurableOutlet)
    return outlet


def test_a_command_reads_the_event_as_json(tmp_path: Path) -> None:
    code = "import sys; open(sys.argv[0] + '.' + sys.argv[1], 'w').write(sys.stdin.read())"
    outlet = open_outlet(f"exec:{sys.executable} -S {tmp_path / 'x.py'} '$HOME; b'#events=reject")
    (tmp_path / "x.py").write_text(code)
    assert isinstance(outlet, DurableOutlet) and outlet.types == ("reject",)
    outlet.deliver(RECORD)  # larger than a pipe; no shell expands or splits anything
    assert json.loads((tmp_path / "x.py.$HOME; b").read_text()) == RECORD
    assert outlet.answer == "exit code 0"


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("print('no such hall'); raise SystemExit(3)", Refused, "exit code 3: no such hall"),
        ("raise SystemExit(75)", ConnectionError, "exit code 75"),
        ("import os; os.kill(os.getpid(), 9)", Refused, "exit code -9"),
        ("print('x' * 10_000_000, flush=True); raise SystemExit(1)", Refused, "exit code 1: x+$"),
    ],
)
def test_the_exit_code_decides(
    tmp_path: Path, code: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        command(tmp_path, code).deliver(RECORD)
    assert len(str(raised.value)) < 5_000  # of a talkative command the end is kept


def test_a_command_without_end_is_killed_with_its_children(tmp_path: Path) -> None:
    outlet = command(
        tmp_path,
        "import subprocess\nsubprocess.run(['sleep', '1000'])",
        "timeout_s=0.3",
    )
    with pytest.raises(TimeoutError, match=r"no end after 0\.3 s, killed"):
        outlet.deliver(RECORD)


def test_a_child_left_behind_delays_nothing(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '5']); print('done')"
    outlet = command(tmp_path, code)
    outlet.deliver(RECORD)
    assert outlet.answer == "exit code 0: done"


def test_closing_ends_a_delivery_under_way(tmp_path: Path) -> None:
    outlet = command(tmp_path, "import time; time.sleep(1000)")
    raised: list[Exception] = []

    def deliver() -> None:
        try:
            outlet.deliver(RECORD)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=deliver)
    thread.start()

    def ended() -> bool:
        outlet.close()
        thread.join(0.05)
        return not thread.is_alive()

    wait_until(ended)
    assert len(raised) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exec:", "names no command"),
        ("exec:surely-absent --x", "there is no command 'surely-absent'"),
        ("exec:sh 'a", "No closing quotation"),
        ("exec:sh#timeout_s=soon", "option timeout_s must be a number"),
        ("exec:sh#timeout=5", "Did you mean 'timeout_s'"),
        ("exec:sh#events=alarms", "'alarms' is not a type of event. Known: reject, missed_trigger"),
    ],
)
def test_what_cannot_run_is_refused_at_the_start(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_outlet(text)
