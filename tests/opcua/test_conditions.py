"""What a condition shows of an alarm, and when clients are notified, without a network."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("asyncua")

from edge_ad.opcua.conditions import Condition, Conditions


@pytest.mark.parametrize(
    ("active", "acked_by", "retain"),
    [(True, None, True), (True, "anna", True), (False, None, True), (False, "anna", False)],
)
def test_a_condition_is_kept_until_it_has_ended_and_is_acknowledged(
    *, active: bool, acked_by: str | None, retain: bool
) -> None:
    values = Condition("top", "defect", alarm="a-1", active=active, acked_by=acked_by).values()
    assert (values["ActiveState.Id"], values["AckedState.Id"]) == (active, acked_by is not None)
    assert values["ActiveState"].Text == ("Active" if active else "Inactive")
    assert values["AckedState"].Text == ("Acknowledged" if acked_by else "Unacknowledged")
    assert values["Retain"] is retain


def test_a_condition_without_an_alarm_yet_is_no_news() -> None:
    values = Condition("top", "defect").values()
    assert values["AckedState.Id"] and not values["Retain"] and values["Time"] is None


class Clients:
    """Stands for the address space and the notifier: counts what clients are notified of."""

    def __init__(self) -> None:
        self.notified: list[dict[str, Any]] = []

    async def write(self, prefix: str, values: object) -> None:
        assert prefix == "top/Alarms.Defect."

    async def alarm(self, camera: str, node: object, values: dict[str, Any], name: str) -> None:
        self.notified.append(values)


def test_clients_are_notified_of_changes_alone() -> None:
    clients: Any = Clients()
    conditions = Conditions(None, clients, clients, None)  # type: ignore[arg-type]
    conditions._conditions["top", "defect"] = Condition("top", "defect")
    new = {"camera": "top", "kind": "defect", "id": "a-1", "event": "new", "part": 3}
    new |= {"time_utc": "2026-11-29T12:00:00+00:00", "peak_score": 2.0, "threshold": 1.0}
    acked = {**new, "acked_by": "anna", "comment": "glue"}
    steps = [new, new, {**new, "peak_score": 3.0}, acked, acked, {**acked, "event": "end"}]
    for step in [*steps, {**new, "camera": "gone"}, {**new, "id": "a-2"}]:
        asyncio.run(conditions.update(step))
    shown = [(each["AlarmId"], each["ActiveState.Id"], each["ClientUserId"])
             for each in clients.notified]  # fmt: skip
    assert shown == [
        ("a-1", True, ""),
        ("a-1", True, ""),
        ("a-1", True, "anna"),
        ("a-1", False, "anna"),
        ("a-2", True, ""),
    ]
    assert "score 3, threshold 1" in clients.notified[1]["Message"].Text
    assert len({each["EventId"] for each in clients.notified}) == 5
