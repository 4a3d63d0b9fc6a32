"""`edge-ad outlet test`: send a marked test alarm and say what came back."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.errors import OutletLost

if TYPE_CHECKING:
    from edge_ad.event import AlarmEvent
    from edge_ad.outlet.base import Outlet

_REASON = "a test: no part was inspected"


@click.command()
@click.argument("action", type=click.Choice(["test"]), metavar="test")
@click.argument("uri", metavar="URI")
@shared
def command(*, action: str, uri: str, as_json: bool) -> None:
    """Send a test alarm to an outlet, and print what came back.

    The alarm has "test": true. A line may be running with the same outlet,
    unless that is a server (modbus-tcp://, opcua://): the line has its port.
    """
    from edge_ad.outlet.delivery_state import reason_of
    from edge_ad.outlet.registry import open_outlet

    outlet, name = open_outlet(uri), f"test-{secrets.token_hex(4)}"
    began_s = time.perf_counter()
    try:
        answer = _send(outlet, name)
    except (OSError, OutletLost) as error:
        reason = str(error) if isinstance(error, OutletLost) else reason_of(error)
        raise OutletLost(f"{outlet.name}: the test alarm did not arrive: {reason}") from error
    finally:
        outlet.close()
    elapsed_ms = round((time.perf_counter() - began_s) * 1e3, 1)
    if as_json:
        return emit(
            {"type": "outlet_test", "outlet": outlet.name, "id": name, "answer": answer}
            | {"elapsed_ms": elapsed_ms}
        )
    click.echo(f"{outlet.name}: {answer} ({elapsed_ms:g} ms)")


def _send(outlet: Outlet, name: str) -> str:
    """Send a test alarm of this name and return what came back."""
    from edge_ad.outlet.base import Evidence
    from edge_ad.outlet.durable import DurableOutlet

    if isinstance(outlet, DurableOutlet):
        outlet.is_test = True
        outlet.connect()
        outlet.deliver(_record(name))
        return outlet.answer or "delivered"
    outlet.started(["test"], None)
    if answer := outlet.test():
        return answer
    outlet.alarmed(_event(name), Evidence())
    return outlet.answer or "taken"


def _record(name: str) -> dict[str, Any]:
    """Return the alarm as the store would have it."""
    from edge_ad.clock import now_utc

    return {
        "seq": 0,
        "id": name,
        "type": "alarm",
        "camera": "test",
        "time_utc": now_utc(),
        "step": "new",
        "kind": "defect",
        "alarm": name,
        "reason": _REASON,
        "test": True,
    }


def _event(name: str) -> AlarmEvent:
    from edge_ad.clock import now_utc
    from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep

    return AlarmEvent(
        event=AlarmStep.NEW,
        id=name,
        kind=AlarmKind.DEFECT,
        source="test",
        frame=0,
        first_frame=0,
        peak_frame=0,
        peak_score=float("nan"),
        threshold=float("nan"),
        reason=_REASON,
        camera="test",
        time_utc=now_utc(),
        test=True,
    )
