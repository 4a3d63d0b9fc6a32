"""Stamp a file's provenance: package versions, time and parent."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import edge_ad
from edge_ad.clock import now_utc
from edge_ad.manifest import Provenance

_PACKAGES = (
    *("numpy", "onnx", "onnxruntime", "onnxscript"),
    *("opencv-python", "opencv-python-headless", "torch"),
)


def stamp(
    provenance: Provenance, *, parent_sha256: str = "", notes: Mapping[str, str] | None = None
) -> Provenance:
    """Return `provenance` for a file made now on this machine, with more notes.

    Its data set, earlier notes and versions of packages that are not installed here stay.
    """
    return provenance.replace(
        made_with={**provenance.made_with, **versions()},
        created_utc=now_utc("seconds"),
        parent_sha256=parent_sha256,
        notes={**provenance.notes, **(notes or {})},
    )


def versions() -> dict[str, str]:
    """Return the versions of edge-ad, Python and the packages that results depend on."""
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Read the versions once: metadata are files, and looking for each takes milliseconds."""
    result = [("edge-ad", edge_ad.__version__), ("python", platform.python_version())]
    for package in _PACKAGES:
        try:
            result.append((package, version(package)))
        except PackageNotFoundError:  # a system's own OpenCV, for one, carries no metadata
            continue
    return tuple(result)
