"""A few mutated inputs of every kind, and whether the job notices what it looks for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.errors import DataError

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"
KINDS = (
    "images", "folders", "videos", "masks", "labelled folders", "ONNX files", "engines", "plans",
    "sidecars", "range tables", "configurations",
)  # fmt: skip


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("fuzzing.runner")


def test_all_kinds_are_tried(runner: Any) -> None:
    assert tuple(runner.KINDS) == KINDS


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_inputs_are_judged_or_refused(runner: Any, kind: str) -> None:
    outcomes = [runner.attempt(kind, seed=99, index=index) for index in range(30)]
    assert [message for outcome, message in outcomes if outcome == "finding"] == []
    assert {outcome for outcome, _ in outcomes} <= {"accepted", "refused"}


def _refuse(rng: np.random.Generator, folder: Path) -> bool:
    raise DataError("no image")


def _break(rng: np.random.Generator, folder: Path) -> bool:
    raise IndexError("list index out of range")


def _hang(rng: np.random.Generator, folder: Path) -> bool:
    while True:
        rng.random()


@pytest.mark.parametrize(
    ("kind", "outcome", "message"),
    [
        (_refuse, "refused", "no image"),
        (_break, "finding", "IndexError: list index out of range"),
        (_hang, "finding", "Hang"),
    ],
)
def test_what_is_no_refusal_is_a_finding(
    runner: Any, monkeypatch: pytest.MonkeyPatch, kind: Any, outcome: str, message: str
) -> None:
    monkeypatch.setattr(runner, "HANG_S", 0.01 if kind is _hang else 60.0)
    monkeypatch.setitem(runner.KINDS, "images", kind)
    observed, text = runner.attempt("images", seed=0, index=0)
    assert observed == outcome and message in text


@pytest.mark.slow
def test_a_process_that_dies_is_a_finding_and_the_next_input_is_tried(runner: Any) -> None:
    before, work = runner.WORKER.split("runner.work")
    dies = "runner.KINDS['images'] = lambda rng, folder: os.abort() if rng.random() < 0.5 else True"
    outcome = runner.fuzz("images", 0, 6, f"import os; {before}{dies}; runner.work{work}")
    assert outcome.tried == 6 and 0 < len(outcome.findings) < 6
    assert outcome.accepted == 6 - len(outcome.findings)
    assert all(text.startswith("exit -6") for _, text in outcome.findings)


def test_an_input_is_the_same_for_the_same_seed(runner: Any, tmp_path: Path) -> None:
    images = importlib.import_module("fuzzing.images")
    first, second = (images.mutated(np.random.default_rng(5)) for _ in range(2))
    assert first == second
