"""Whether what is installed is whole, still trusted, and fits the device's own settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_ad.bundle.manifest import (
    DEVICE_LINE,
    MANIFEST,
    SIGNATURES,
    BundleManifest,
    parse_manifest,
)
from edge_ad.bundle.signing import parse_signatures
from edge_ad.bundle.state import BundleFolder, Installation, State, Switch
from edge_ad.bundle.trust import Trust, check_signatures
from edge_ad.bundle.whole import verify_installed
from edge_ad.errors import EdgeAdError, UsageError


@dataclass(frozen=True)
class BundleStatus:
    """What is installed in a folder. `problems` keep the line from starting, `notes` do not."""

    state: State
    current: Installation | None
    previous: Installation | None
    manifest: BundleManifest | None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_status(path: Path, trust: Trust | None) -> BundleStatus:
    """Look at a folder and change nothing. Raises UsageError when nothing is installed there."""
    folder = BundleFolder(path)
    state = folder.load()
    if state is None:
        raise UsageError(f"{path}: nothing is installed there.")
    current, previous = state.current, state.previous
    notes: list[str] = []
    if (switch := state.switch) is not None:
        notes.append(_interrupted(switch, folder))
        if folder.linked == switch.to:
            current, previous = switch.to, switch.previous
    problems, manifest = [], None
    if folder.linked != current:
        problems.append(f"current leads to {folder.linked or 'nothing'}, expected {current}")
    if current:
        manifest = _examine(folder.version(current), trust, problems, notes)
    if folder.site.exists() and current:
        line = folder.version(current) / DEVICE_LINE
        if line.exists() and line.stat().st_mtime < folder.site.stat().st_mtime:
            notes.append(f"site.yaml is newer than the line file; edge-ad bundle site {path}")
    return BundleStatus(state, state.find(current), state.find(previous), manifest, problems, notes)


def _examine(
    version: Path, trust: Trust | None, problems: list[str], notes: list[str]
) -> BundleManifest | None:
    label = version.name
    try:
        data = (version / MANIFEST).read_bytes()
        manifest = parse_manifest(data, label)
        if trust is not None:
            signatures = parse_signatures((version / SIGNATURES).read_bytes(), label)
            check_signatures(data, signatures, trust, label)
    except OSError as error:
        problems.append(f"{label}: {error.filename} cannot be read ({error.strerror})")
        return None
    except EdgeAdError as error:
        notes.append(str(error))
        return None
    damaged = verify_installed(version, manifest)
    if damaged:
        problems.append(f"{label}: missing or changed: {', '.join(damaged)}")
    if not (version / DEVICE_LINE).is_file():
        problems.append(f"{label}: {DEVICE_LINE} is missing; edge-ad bundle site writes it")
    return manifest


def _interrupted(switch: Switch, folder: BundleFolder) -> str:
    done = "it has happened" if folder.linked == switch.to else "it has not happened"
    return f"the {switch.kind} of {switch.to} was interrupted; {done}. The next one tidies up"
