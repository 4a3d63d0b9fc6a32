"""Text of `edge-ad evaluate`: the table of metrics, and what does not fit in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_COLUMNS = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "iap", "iap90")


def print_table(result: dict[str, Any]) -> None:
    """Print the metrics of all images and of each defect type, with their intervals."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "images", *_COLUMNS, "escapes")
    for name, numbers in ({"all": result} | result["by_type"]).items():
        values = [_cell(numbers, key) for key in _COLUMNS]
        escapes = numbers.get("escapes", numbers.get("at_threshold", {}).get("escapes", "-"))
        table.add_row(name, f"{numbers['normal']} + {numbers['anomalous']}", *values, str(escapes))
    console = Console()
    Console(width=None if console.is_terminal else 120).print(table)


def _cell(numbers: dict[str, Any], key: str) -> str:
    """Return a metric over its interval."""
    if numbers[key] is None:
        return "-"
    interval = numbers["intervals"][key]
    below = "no interval" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
    return f"{numbers[key]:.4f}\n{below}"


def remarks(result: dict[str, Any]) -> Iterator[str]:
    """Yield how to read the table, and what its figures leave out."""
    by = result["intervals_by"]
    yield (
        f"Intervals: {by['level']:.0%} of {by['draws']} draws of {by['normal_parts']} normal and "
        f"{by['anomalous_parts']} anomalous parts ({by['detail'] or by['decided_by']})."
    )
    if not result["anomalous"]:
        yield "No anomalous images: AUROC and the other metrics are undefined."
    if at := result.get("at_threshold"):
        yield (
            f"At threshold {at['image']:.6g} ({at['from']}): {at['escapes']} of "
            f"{result['anomalous']} anomalous images pass, {at['overkill']} of "
            f"{result['normal']} normal images are rejected."
        )
    yield from _about_masks(result)
    if left_out := result["left_out"]:
        yield (
            f"{result['listed']} files listed, {result['scored']} scored, {len(left_out)} left out."
        )
    for note in result["data_set"]["notes"]:
        yield f"Note: {note}."


def _about_masks(result: dict[str, Any]) -> Iterator[str]:
    if result["tiny_defects"]:
        yield f"{result['tiny_defects']} of {result['defects']} defects have 1 or 2 pixels."
    if kinds := result["types_without_masks"]:
        yield f"No masks for {', '.join(kinds)}: pixel figures do not cover them."
    if hidden := result["hidden_defects"]:
        yield (
            f"{len(hidden)} defects lie outside the inspected area (region of interest, ignored "
            f"polygons) or are too small for the map; the first: {hidden[0]}"
        )
