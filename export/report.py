"""The JSON file beside an artefact that keeps what was measured when it was made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from edge_ad.files import write_text

Say: TypeAlias = Callable[[str], None]
"""Hears in words what a long step is doing."""


def report_path(artefact: Path) -> Path:
    """`destseg.onnx` -> `destseg.onnx.report.json`."""
    return artefact.with_name(artefact.name + ".report.json")


def save_report(artefact: Path, report: dict[str, Any]) -> Path:
    """Write the report in one step and answer its path."""
    path = report_path(artefact)
    write_text(path, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return path
