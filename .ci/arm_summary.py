"""Sum up a run of `make arm-checks`: tests, packages, and the demo's frames beside x86-64's scores.

python .ci/arm_summary.py arm-tests.xml arm-demo arm-checks.json
"""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

_PACKAGES = ("numpy", "onnxruntime", "opencv-python", "opencv-python-headless", "av", "pillow",
             "pydantic", "simplejpeg", "pyarrow")  # fmt: skip


def main(tests: Path, demo: Path, output: Path) -> None:
    """Write the summary as JSON."""
    suite = ElementTree.parse(tests).getroot()[0].attrib
    summary = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "tests": {key: int(suite[key]) for key in ("tests", "failures", "errors", "skipped")},
        "tests_s": round(float(suite["time"])),
        "frames": _frames(demo / "inspections.jsonl"),
    }
    output.write_text(json.dumps(summary, indent=1) + "\n")


def _frames(records: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, records.read_text().splitlines())
    return [{key: line[key] for key in ("frame", "verdict", "score")} for line in lines]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
