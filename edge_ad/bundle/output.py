"""Where the line of an installed version writes to."""

from __future__ import annotations

from pathlib import Path

from edge_ad.bundle.manifest import DEVICE_LINE
from edge_ad.bundle.state import BundleFolder
from edge_ad.errors import UsageError
from edge_ad.strict_yaml import load_yaml


def output_of(path: Path) -> Path:
    """Return the output folder of the current version's line. Raises UsageError without one."""
    file = BundleFolder(path).link / DEVICE_LINE
    try:
        return Path(str(load_yaml(file)["output"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: the line's output folder is not known ({error}).") from error
