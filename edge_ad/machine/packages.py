"""Find installed Python packages, and check that those of the engines load."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util

DISTRIBUTION = "edge-ad"
_DETAILS = {
    "onnxruntime": "print(*m.get_available_providers(), sep=', ')",
    "pycuda": "import pycuda.driver; print()",
}
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Package:
    """A package that runs engines; `problem` is why an installed one does not load."""

    name: str
    version: str = ""
    details: str = ""
    problem: str = ""

    @property
    def usable(self) -> bool:
        """Return whether the package is installed and loads."""
        return bool(self.version) and not self.problem


def read_package(name: str) -> Package:
    """Import a package in a separate process, since a broken library may end the process."""
    if util.find_spec(name) is None:
        return Package(name)
    code = f"import importlib; m = importlib.import_module('{name}'); "
    code += _DETAILS.get(name, "print()")
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Package(name, version_of(name), problem=f"does not load within {_TIMEOUT_S} s")
    if done.returncode:
        return Package(name, version_of(name), problem=_last_line(done.stderr, done.returncode))
    return Package(name, version_of(name), done.stdout.strip())


def version_of(name: str) -> str:
    """Return the installed version of an import name; 'unknown' without package metadata."""
    owners = _owners().get(name, [])
    return metadata.version(owners[0]) if owners else "unknown"


@cache
def _owners() -> Mapping[str, list[str]]:
    """Return the distributions of every import name; it reads the metadata of all of them."""
    return metadata.packages_distributions()


def missing_for(extra: str) -> list[str]:
    """Return the distributions of an extra, nested extras included, that are not installed."""
    missing = []
    for requirement in metadata.requires(DISTRIBUTION) or []:
        if not re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", requirement):
            continue
        nested = re.match(r"edge-ad\[(.+?)\]", requirement)
        if nested:
            missing += [
                name for inner in nested[1].split(",") for name in missing_for(inner.strip())
            ]
        elif not _distribution_installed(name := re.split(r"[^\w.-]", requirement)[0]):
            missing.append(name)
    return sorted(set(missing))


def extras() -> list[str]:
    """Return the extras of edge-ad; none when it runs from a folder without being installed."""
    if not _distribution_installed(DISTRIBUTION):
        return []
    return metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []


def _distribution_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _last_line(text: str, code: int) -> str:
    lines = text.strip().splitlines()
    if code > 0 and lines:
        return lines[-1]
    ended = f"ends the process with code {code}"
    return f"{ended}: {lines[-1]}" if lines else ended
