"""Refused messages are reported once for each user, and counted."""

from __future__ import annotations

from edge_ad.control.refusals import Refusals
from tests.beside import Beside


def test_a_user_is_reported_again_after_an_hour_with_the_count() -> None:
    now, reports = [0.0], list[tuple[str, int]]()
    refusals = Refusals(lambda user, reason, count: reports.append((user, count)), lambda: now[0])
    for moment, user in ((0, "a"), (1, "a"), (2, "b"), (3, "a"), (3601, "a")):
        now[0] = moment
        refusals.add(user, "nonsense")
    assert reports == [("a", 1), ("b", 1), ("a", 3)] and refusals.count == 5


def test_two_messages_at_once_are_reported_once_and_both_counted() -> None:
    class User(str):
        hashed = 0

        def __hash__(self) -> int:  # when it is looked up, and again when it is noted
            self.hashed += 1
            if self.hashed == 2:
                second()
            return hash(str(self))

    reports: list[int] = []
    refusals = Refusals(lambda user, reason, count: reports.append(count), lambda: 0.0)
    second = Beside(lambda: refusals.add("a", "nonsense"))
    refusals.add(User("a"), "nonsense")
    second.result()
    assert (reports, refusals.count) == ([1], 2)
