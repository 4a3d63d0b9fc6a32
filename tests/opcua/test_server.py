"""The OPC UA server of a line, in its process, as asyncua's client sees it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("asyncua")
from asyncua import ua

from edge_ad.event import AlarmKind, AlarmStep
from edge_ad.inspection import Verdict
from edge_ad.opcua import nodes
from edge_ad.store.store import Store
from tests.opcua.served import (
    PASSWORD,
    USER,
    Peer,
    Served,
    alarm,
    free_port,
    make_client_certificate,
    part,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("line")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    """Serve on loopback, with one user, a line of two cameras and a store."""
    store = Store(folder)
    served = Served(
        free_port(),
        f"{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{{port}}?pki={folder / 'pki'}"
        "&stale_ms=600000",
        client_certificate=make_client_certificate(folder / "client"),
    )
    served.open(["top", "side"], store)
    try:
        served.wait_until_ready()
        yield served
    finally:
        served.outlet.close()
        store.close()


class Heard:
    """Keeps the events that a subscription hears."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def event_notification(self, event: Any) -> None:
        self.events.append(event)

    async def wait_for(self, count: int) -> list[Any]:
        for _ in range(4500):
            if len(self.events) >= count:
                return self.events
            await asyncio.sleep(0.02)
        raise AssertionError(f"heard {self.events}")


def test_a_camera_shows_its_results(served: Served) -> None:
    async def check(peer: Peer) -> None:
        served.inspected(part(1), part(2, Verdict.REJECT))
        await peer.wait_for("top/Result.PartNumber", 2)
        paths = ["VisionState", *(f"Result.{name}" for name in nodes.RESULT_EVENT)]
        read = dict(zip(paths, await peer.read(*(f"top/{path}" for path in paths)), strict=True))
        assert {status for _, status in read.values()} == {"Good"}
        values = {path: value for path, (value, _) in read.items()}
        assert values["VisionState"] == "Operational"
        assert (values["Result.Pass"], values["Result.Fail"]) == (False, True)
        assert (values["Result.Score"], values["Result.Threshold"]) == (1.0, 0.25)
        assert values["Result.ResultId"].endswith("-top-00000002")
        assert values["Result.ProcessingTime"] == 12.0
        assert json.loads(values["Result.Regions"])[0]["peak_xy"] == [7, 8]
        served.inspected(part(3))
        await peer.wait_until("top/Result.Pass", bool)
        assert await peer.read("top/Result.Fail") == [(False, "Good")]

    asyncio.run(_with(served, check))


def test_what_is_no_verdict_is_no_pass(served: Served) -> None:
    async def check(peer: Peer) -> None:
        assert await peer.read("side/VisionState", "side/Result.Pass", "side/Result.Score") == [
            ("Preoperational", "Good"),
            (False, "UncertainInitialValue"),
            (None, "BadWaitingForInitialData"),
        ]
        served.inspected(part(1, camera="side"))
        await peer.wait_until("side/Result.Pass", bool)
        served.inspected(part(2, Verdict.INVALID, "side"))
        await peer.wait_for("side/VisionState", "Error")
        verdicts = ("side/Result.Pass", "side/Result.Fail")
        uncertain = [(False, "UncertainLastUsableValue")] * 2
        assert await peer.read(*verdicts) == uncertain
        assert await peer.value("side/Reason") == "black frame"
        served.inspected(part(3, camera="side"))
        await peer.wait_for("side/VisionState", "Operational")
        fault = AlarmKind.CAMERA_FAULT
        served.alarmed(alarm(AlarmStep.NEW, "f-1", fault, "side", "lost: no frame"))
        await peer.wait_for("side/VisionState", "Error")
        assert await peer.read(*verdicts) == uncertain
        assert await peer.value("side/Reason") == "lost: no frame"
        served.alarmed(alarm(AlarmStep.END, "f-1", fault, "side", "lost: no frame"))
        await peer.wait_until("side/Result.Pass", bool)
        assert await peer.value("side/Counters.Invalid") == 1

    asyncio.run(_with(served, check))


def test_a_reader_sees_one_result_or_another(served: Served) -> None:
    async def check(peer: Peer) -> None:
        for number in range(10, 60):
            served.inspected(part(number, Verdict.REJECT if number % 2 else Verdict.PASS))
            read = await peer.read(
                "top/Result.PartNumber",
                "top/Result.Score",
                "top/Result.Pass",
                "top/Result.ResultId",
            )
            (count, _), (score, _), (passed, _), (name, _) = read
            assert score == count * 0.5 and passed == (count % 2 == 0 or count == 3)
            assert name.endswith(f"-{count:08d}")

    asyncio.run(_with(served, check))


def test_a_result_is_an_event(served: Served) -> None:
    async def check(peer: Peer) -> None:
        heard = Heard()
        subscription = await peer.client.create_subscription(50, heard)
        kind = await peer.client.nodes.base_event_type.get_child(
            f"{peer.namespace}:ResultReadyEventType"
        )
        await subscription.subscribe_events(peer.client.nodes.server, kind)
        served.inspected(*(part(number, Verdict.REJECT) for number in range(100, 110)), part(110))
        events = await heard.wait_for(11)
        assert [event.PartNumber for event in events] == list(range(100, 111))
        assert [event.Fail for event in events] == [True] * 10 + [False]
        assert events[-1].Pass and events[0].SourceName == "top"

    asyncio.run(_with(served, check))


def test_an_alarm_is_acknowledged_by_a_user_and_recorded(served: Served, folder: Path) -> None:
    async def check(peer: Peer) -> None:
        heard = Heard()
        subscription = await peer.client.create_subscription(50, heard)
        kind = peer.client.get_node(ua.ObjectIds.AlarmConditionType)
        await subscription.subscribe_events(peer.node("top/"), kind)
        condition = peer.node("top/Alarms.Defect")
        served.alarmed(alarm(AlarmStep.NEW, "d-1"))
        (event, *_) = await heard.wait_for(1)
        assert (getattr(event, "ActiveState/Id"), getattr(event, "AckedState/Id")) == (True, False)
        assert event.Retain and event.NodeId == condition.nodeid and event.Severity == 700
        assert event.Message.Text == "defect on part 5: score 1.5, threshold 0.25"
        acknowledge = ua.NodeId(ua.ObjectIds.AcknowledgeableConditionType_Acknowledge)
        comment = ua.LocalizedText("seen")
        with pytest.raises(ua.UaStatusCodeError, match="BadEventIdUnknown"):
            await condition.call_method(acknowledge, b"no such event", comment)
        with pytest.raises(ua.UaStatusCodeError, match="BadResourceUnavailable"):
            await condition.call_method(acknowledge, event.EventId, comment)  # not in the store

    asyncio.run(_with(served, check, USER))


async def _with(served: Served, check: Any, user: str = "") -> None:
    async with served.connected(user) as peer:
        await check(peer)


def test_nodes_are_those_of_the_docs(served: Served) -> None:
    async def check(peer: Peer) -> None:
        shown: dict[str, str] = {}
        for root in ("Line", "top/"):
            await _collect(peer.node(root), shown)
        conditions = {f"top/Alarms.{name}" for name in nodes.CONDITIONS.values()}
        documented = _documented(conditions)
        assert {path: kind for path, kind in shown.items() if not path.startswith("side/")} == (
            documented
        )

    asyncio.run(_with(served, check))


async def _collect(node: Any, shown: dict[str, str]) -> None:
    for child in await node.get_children():
        if await child.read_node_class() == ua.NodeClass.Variable:
            if child.nodeid.NodeIdType is ua.NodeIdType.String:  # not the arguments of a method
                kind = await child.read_data_type_as_variant_type()
                shown[child.nodeid.Identifier] = kind.name
        await _collect(child, shown)


def _documented(conditions: set[str]) -> dict[str, str]:
    """Read the tables of docs/opcua.md: node id to type."""
    page = (Path(__file__).parents[2] / "docs" / "opcua.md").read_text()
    rows = re.findall(r"^\| `((?:Line|CAMERA|CONDITION)[./][^`]+)` \| (\w+) \|", page, re.MULTILINE)
    documented = {}
    for path, kind in rows:
        documented[path.replace("CAMERA/", "top/")] = kind
        if path.startswith("CONDITION"):
            del documented[path]
            for condition in conditions:
                documented[path.replace("CONDITION", condition)] = kind
    return documented
