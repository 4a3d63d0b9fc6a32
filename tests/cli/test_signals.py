from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from edge_ad.cli.signals import Signals


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["hangs up", "under nohup"])
def hangup(request: pytest.FixtureRequest) -> Iterator[Any]:
    before = signal.signal(signal.SIGHUP, request.param)
    yield request.param
    assert signal.getsignal(signal.SIGHUP) is request.param, "it is as before"
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_ends_a_run_however_often_it_says_so(hangup: Any) -> None:
    stop = threading.Event()
    with Signals(stop) as signals:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
    assert stop.is_set() == (hangup is not signal.SIG_IGN)
    assert signals.received == (signal.SIGHUP if stop.is_set() else None)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_of_a_person_interrupts(second: signal.Signals) -> None:
    stop = threading.Event()
    with pytest.raises(KeyboardInterrupt), Signals(stop) as signals:
        signal.raise_signal(signal.SIGTERM)
        assert signals.received == signal.SIGTERM and stop.is_set()
        signal.raise_signal(second)
