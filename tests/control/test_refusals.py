"""Refused messages are reported once for each user, and counted."""

from __future__ import annotations

from edge_ad.control.refusals import Refusals


def test_a_user_is_reported_again_after_an_hour_with_the_count() -> None:
    now, reports = [0.0], list[tuple[str, int]]()
    refusals = Refusals(lambda user, reason, count: reports.append((user, count)), lambda: now[0])
    for moment, user in ((0, "a"), (1, "a"), (2, "b"), (3, "a"), (3601, "a")):
        now[0] = moment
        refusals.add(user, "nonsense")
    assert reports == [("a", 1), ("b", 1), ("a", 3)] and refusals.count == 5
