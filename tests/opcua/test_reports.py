"""Attempts of strangers do not fill a log."""

from __future__ import annotations

import logging

from edge_ad.opcua.reports import ReportHandler, Reports


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_kind_of_attempt_is_reported_once_an_hour() -> None:
    sent: list[str] = []
    clock = Clock()
    reports = Reports(sent.append, clock)
    for _ in range(3):
        reports.refuse("a write", "10.0.0.9")
    reports.refuse("a write", "10.0.0.8", " (operator)")
    assert sent == [
        "refused a write from 10.0.0.9",
        "refused a write from 10.0.0.8 (operator)",
    ]
    clock.now_s = 3601.0
    reports.refuse("a write", "10.0.0.9")
    assert len(sent) == 3


def test_many_kinds_are_reported_to_a_bound() -> None:
    sent: list[str] = []
    reports = Reports(sent.append)
    for number in range(1000):
        reports.refuse("a write", f"10.0.0.{number}")
    assert len(sent) == 51
    assert sent[-1] == "many kinds of attempts; no more are reported for a while"


def test_warnings_of_the_library_come_without_values() -> None:
    sent: list[str] = []
    log = logging.getLogger("tests.opcua.library")
    log.propagate = False
    log.addHandler(ReportHandler(Reports(sent.append)))
    for password in ("one", "two"):
        log.warning("login of %s with %r", "somebody", password)
    log.info("nothing")
    assert sent == ["the server warns: login of … with …"]
