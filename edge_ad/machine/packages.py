"""Which Python packages are installed, and which engines really load."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata, util

DISTRIBUTION = "edge-ad"
_ASK = {
    "onnxruntime": "print(*m.get_available_providers(), sep=', ')",
    "pycuda": "import pycuda.driver; print()",
}
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Package:
    """A package that can run engines; `fault` says why an installed one does not load."""

    name: str
    version: str = ""
    details: str = ""
    fault: str = ""

    @property
    def usable(self) -> bool:
        return bool(self.version) and not self.fault


def read_package(name: str) -> Package:
    """Import a package in a process of its own, since a broken library may end the process."""
    if util.find_spec(name) is None:
        return Package(name)
    ask = f"import importlib; m = importlib.import_module('{name}'); "
    ask += _ASK.get(name, "print()")
    try:
        ended = subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Package(name, version_of(name), fault=f"does not load within {_TIMEOUT_S} s")
    if ended.returncode:
        return Package(name, version_of(name), fault=_last_line(ended.stderr, ended.returncode))
    return Package(name, version_of(name), ended.stdout.strip())


def version_of(name: str) -> str:
    """The installed version of an import name; 'unknown' for one without package metadata."""
    owners = metadata.packages_distributions().get(name, [])
    return metadata.version(owners[0]) if owners else "unknown"


def missing_for(extra: str) -> list[str]:
    """Distributions of one of edge-ad's extras that are not installed, those of nested ones too."""
    missing = []
    for requirement in metadata.requires(DISTRIBUTION) or []:
        if not re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", requirement):
            continue
        nested = re.match(r"edge-ad\[(.+?)\]", requirement)
        if nested:
            missing += [name for one in nested[1].split(",") for name in missing_for(one.strip())]
        elif not _distribution_installed(name := re.split(r"[^\w.-]", requirement)[0]):
            missing.append(name)
    return sorted(set(missing))


def extras() -> list[str]:
    """The extras edge-ad offers; none when it runs from a folder without being installed."""
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
    return lines[-1] if lines else f"ends the process with code {code}"
