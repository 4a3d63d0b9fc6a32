"""Renders the README's table of measurements from the result files: python benchmarks/report.py

A test renders it again and fails when README and files differ: without a file, no number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results import file_name, read_results  # the script's own folder is on the path

from edge_ad.files import write_text

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
_HEAD = ("what", "measured", "file")


def render(results: list[dict[str, Any]]) -> str:
    """A Markdown table, a row a result file, in the order of their names."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(result) for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def replaced(text: str, table: str) -> str:
    """The README with the part between the two markers replaced."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"


def _row(result: dict[str, Any]) -> tuple[str, str, str]:
    name = file_name(result["device"], result["bench"], result["model"], result["precision"])
    where = result["machine"]["cpu"] if result["device"] == "cpu" else result["device"]
    what = f"{result['bench']}, {result['model']}, {result['precision']} ({where}, " + (
        f"{result['machine']['cores']} cores)"
    )
    numbers = [f"{key} {_short(value)}" for key, value in result["metrics"].items()
               if isinstance(value, int | float)]  # fmt: skip
    return what, ", ".join(numbers), f"[json](benchmarks/results/{name})"


def _short(value: float) -> str:
    return f"{value:g}" if isinstance(value, int) else f"{value:.4g}"


def main() -> None:
    write_text(README, replaced(README.read_text(), render(read_results())))


if __name__ == "__main__":
    main()
