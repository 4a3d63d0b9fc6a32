"""Measure the effect of settings: weights whose trainings differ in some, on the same images.

    python benchmarks/bench_settings.py --data DIR --name ear-weight before=A.pt after=B.pt

Every file is evaluated by torch, as `edge-ad evaluate` does; its training report must be beside it
and gives steps, seed and settings. Only settings that differ between the files are written.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from method_precisions import accuracy_of  # the script's own folder is on the path
from results import write_result

from edge_ad.training.report import report_path

TRAINED = ("method", "steps", "processor_minutes", "seed")


def named(text: str) -> tuple[str, Path]:
    """Split `NAME=WEIGHTS.pt`."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=WEIGHTS.pt")
    return name, Path(path)


def differing(reports: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return how each file was trained, and those of its settings that differ between files."""
    settings = {name: _flat(report["settings"]) for name, report in reports.items()}
    keys = {key for values in settings.values() for key in values}
    apart = sorted(
        key for key in keys if len({repr(values.get(key)) for values in settings.values()}) > 1
    )
    return {
        name: {key: report.get(key) for key in TRAINED}
        | {key: settings[name].get(key) for key in apart}
        for name, report in reports.items()
    }


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Name the settings inside a group with a dot, as `--set` does."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inside = value if isinstance(value, dict) else {}
        flat |= {f"{name}.{member}": item for member, item in inside.items()} or {name: value}
    return flat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=named, nargs="+", metavar="NAME=WEIGHTS.pt")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    files = dict(options.weights)
    reports = {
        name: json.loads(report_path(path).read_text(encoding="utf-8"))
        for name, path in files.items()
    }
    figures = {name: accuracy_of(path, options.data) for name, path in files.items()}
    head = {f"image_auroc {name}": row["image_auroc"] for name, row in figures.items()}
    print(head)
    print(
        write_result(
            "settings", options.name, "fp32",
            metrics=head | figures, settings=differing(reports),
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
