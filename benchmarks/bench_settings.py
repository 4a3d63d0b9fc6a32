"""Measures what settings are worth: trained weights that differ in some, on the same images.

    python benchmarks/bench_settings.py --data DIR --name ear-line before=A.pt after=B.pt

Every file is judged by torch, as `edge-ad evaluate` does; its training report must lie beside it,
and tells steps, seed and settings. Only settings that differ between the files are kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench_methods import accuracy_of  # the script's own folder is on the path
from results import write_result

from edge_ad.training.report import report_path

TRAINED = ("method", "steps", "processor_minutes", "seed")


def named(text: str) -> tuple[str, Path]:
    """`NAME=WEIGHTS.pt`."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=WEIGHTS.pt")
    return name, Path(path)


def differing(reports: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per file, how it was trained and those of its settings that are not the same in all."""
    told = {name: report["settings"] for name, report in reports.items()}
    keys = {key for settings in told.values() for key in settings}
    apart = sorted(key for key in keys if len({repr(one.get(key)) for one in told.values()}) > 1)
    return {
        name: {key: report.get(key) for key in TRAINED}
        | {key: told[name].get(key) for key in apart}
        for name, report in reports.items()
    }


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
    head = {f"image_auroc {name}": one["image_auroc"] for name, one in figures.items()}
    print(head)
    print(
        write_result(
            "settings", options.name, "fp32",
            metrics=head | figures, settings=differing(reports),
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
