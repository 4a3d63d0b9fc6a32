"""Renders all tables and images of measurements from the result files.

    python benchmarks/report.py

README's table, the methods' comparison in docs/methods.md with its image, and the figures that
`edge-ad methods` ships. A test renders them again and fails when one is stale: no file, no number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comparison  # the script's own folder is on the path
from results import file_name, read_results

from edge_ad.files import write_text

ROOT = Path(__file__).resolve().parent.parent
README, METHODS = ROOT / "README.md", ROOT / "docs" / "methods.md"
IMAGE, SHIPPED = ROOT / "docs" / "methods.png", ROOT / "edge_ad" / "models" / "measured.json"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
# the figures of a row, where a bench's file holds too many for one
_HEADLINES = {comparison.BENCH: comparison.KEPT}
_HEAD = ("what", "measured", "file")


def render(results: list[dict[str, Any]]) -> str:
    """A Markdown table, a row a result file, in the order of their names."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(result) for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def texts(results: list[dict[str, Any]]) -> dict[Path, str]:
    """Every rendered file and what it should say."""
    return {
        README: replaced(README.read_text(encoding="utf-8"), render(results)),
        METHODS: replaced(METHODS.read_text(encoding="utf-8"), comparison.table(results)),
        SHIPPED: comparison.shipped(results),
    }


def stale(results: list[dict[str, Any]]) -> list[Path]:
    """The rendered files that do not say what the result files say."""
    old = [path for path, text in texts(results).items() if path.read_text("utf-8") != text]
    drawn = IMAGE.exists() and comparison.fingerprint(results).encode() in IMAGE.read_bytes()
    return old if drawn or not comparison.points(results) else [*old, IMAGE]


def replaced(text: str, table: str) -> str:
    """A page with the part between the two markers replaced."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"


def _row(result: dict[str, Any]) -> tuple[str, str, str]:
    name = file_name(result["device"], result["bench"], result["model"], result["precision"])
    where = result["machine"]["cpu"] if result["device"] == "cpu" else result["device"]
    what = f"{result['bench']}, {result['model']}, {result['precision']} ({where}, " + (
        f"{result['machine']['cores']} cores)"
    )
    shown = _HEADLINES.get(result["bench"], tuple(result["metrics"]))
    numbers = [f"{key} {_short(value)}" for key, value in result["metrics"].items()
               if key in shown and isinstance(value, int | float)]  # fmt: skip
    return what, ", ".join(numbers), f"[json](benchmarks/results/{name})"


def _short(value: float) -> str:
    return f"{value:g}" if isinstance(value, int) else f"{value:.4g}"


def main() -> None:
    results = read_results()
    if IMAGE in (old := stale(results)):
        comparison.draw(IMAGE, results)
    for path, text in texts(results).items():
        if path in old:
            write_text(path, text)


if __name__ == "__main__":
    main()
