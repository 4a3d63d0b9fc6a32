"""Whether an unpacked version still has the files of its bundle."""

from __future__ import annotations

from pathlib import Path

from edge_ad.bundle.manifest import (
    DEVICE_LINE,
    MANIFEST,
    BundledFile,
    BundleManifest,
    parse_manifest,
)
from edge_ad.errors import DataError
from edge_ad.files import sha256


def verify_installed(folder: Path, manifest: BundleManifest) -> list[str]:
    """Return which files of an unpacked bundle are missing or changed."""
    return [entry.name for entry in manifest.files if not _is_whole(folder / entry.name, entry)]


def check_way_back(version: Path) -> None:
    """Raise DataError when a line could not start with an unpacked version: files are damaged."""
    label = version.name
    try:
        damaged = verify_installed(
            version, parse_manifest((version / MANIFEST).read_bytes(), label)
        )
    except OSError as error:
        raise DataError(f"{label}: {MANIFEST} cannot be read ({error.strerror})") from error
    if not (version / DEVICE_LINE).is_file():
        damaged.append(DEVICE_LINE)
    if damaged:
        raise DataError(f"{label}: missing or changed: {', '.join(damaged)}")


def _is_whole(path: Path, entry: BundledFile) -> bool:
    try:
        return (
            not path.is_symlink()
            and path.stat().st_size == entry.size
            and (sha256(path) == entry.sha256)
        )
    except OSError:
        return False
