"""`edge-ad drift`: whether light, sharpness and scores are those of the threshold's images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@shared
def command(*, folder: Path, as_json: bool) -> None:
    """List what each camera's images are like, and what has changed since when.

    DIR is the output folder of `edge-ad run`, which may run meanwhile.
    """
    from edge_ad.store.drift import read_drift

    rows = [
        drift_record(camera, quantity, state)
        for (camera, quantity), state in read_drift(folder).items()
    ]
    if as_json:
        emit({"type": "drift", "quantities": rows})
    else:
        click.echo(format_rows(rows))


def drift_record(camera: str, quantity: str, state: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of one quantity; `reference` is None in the first hour."""
    return {
        "camera": camera,
        "quantity": quantity,
        "reference": state.get("centre"),
        "reference_from": state["origin"],
        "now": state.get("now"),
        "since": state.get("test", {}).get("since") or None,
        "minutes_to_reference": None if "test" in state else _missing_minutes(state),
        "minute": state["minute"],
    }


def format_rows(rows: list[dict[str, Any]]) -> str:
    """Return a table of camera, quantity, reference, now and since."""
    from edge_ad.line.drift import local_minute

    if not rows:
        return "no minute of a line is recorded here yet."
    lines = [f"{'camera':16} {'quantity':11} {'reference':>10} {'now':>10}  changed since"]
    for row in rows:
        since = local_minute(row["since"]) if row["since"] else "-"
        if row["minutes_to_reference"]:
            since = f"- (reference in {row['minutes_to_reference']} min)"
        lines.append(
            f"{row['camera']:16} {row['quantity']:11} {_number(row['reference']):>10} "
            f"{_number(row['now']):>10}  {since}"
        )
    if any(row["reference_from"] != "threshold" for row in rows):
        lines.append(
            "The reference of some is the line's first hour: their threshold has none. "
            "edge-ad threshold stores one."
        )
    return "\n".join(lines)


def _missing_minutes(state: dict[str, Any]) -> int:
    from edge_ad.line.drift import FIRST_HOUR

    return FIRST_HOUR - len(state["first"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
