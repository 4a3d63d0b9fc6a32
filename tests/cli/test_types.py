"""Numbers of options: what no clock, queue or store can hold is refused, `inf` is no end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import invoke

MakePath = Callable[..., Path]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--alarm-n", "1000001", "range 1<=x<=1000000"),
        ("--threads", "1025", "range 0<=x<=1024"),
        ("--keep-events", "9" * 20, "range 1<=x<="),
        ("--frames", "9" * 20, "range 0<=x<="),
        ("--timeout-s", "1e10", "is more than 1e+09. For no end write inf."),
        ("--trigger-delay-ms", "1e15", "is more than 1e+09. For no end write inf."),
    ],
)
def test_numbers_without_measure_are_refused(option: str, value: str, message: str) -> None:
    done = invoke("run", "--camera", "pattern://", "--engine", "none.onnx", option, value)

    assert done.returncode == 2 and message in done.stderr, done.stderr


def test_times_may_have_no_end(make_engine: MakePath, tmp_path: Path) -> None:
    words = ("--camera", "pattern://?fps=0&frames=3", "--engine", make_engine())
    times = ("--timeout-s", "inf", "--duration-s", "inf", "--keep-days", "inf")

    done = invoke("run", *words, *times, "-o", tmp_path / "out")

    assert done.returncode == 0, done.stderr
