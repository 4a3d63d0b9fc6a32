"""Whether a bundle may be installed: signed by a trusted key, whole, fresh, and for this device."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from edge_ad.bundle.archive import Head, open_bundle, read_files, read_head
from edge_ad.bundle.manifest import BundleManifest, Target, parse_manifest
from edge_ad.bundle.signing import parse_signatures
from edge_ad.bundle.state import Installation, State
from edge_ad.bundle.trust import Trust, check_signatures
from edge_ad.errors import DataError, IncompatibleError, naming

_CLOCK_MAY_LAG = timedelta(days=1)
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class CheckedBundle:
    """A bundle whose head is signed by a trusted key, with the names of those that signed it."""

    head: Head
    manifest: BundleManifest
    signers: Sequence[str]

    @property
    def sha256(self) -> str:
        """The digest of the manifest, which stands for all content."""
        return hashlib.sha256(self.head.manifest).hexdigest()


def check_head(file: BinaryIO, trust: Trust, label: str) -> CheckedBundle:
    """Read the head of a bundle and check who has signed it. Raises DataError, IncompatibleError.

    Nothing of the manifest is believed before.
    """
    head = read_head(file, label)
    signatures = parse_signatures(head.signatures, label)
    signers = check_signatures(head.manifest, signatures, trust, label)
    return CheckedBundle(head, parse_manifest(head.manifest, label), signers)


def verify_bundle(path: Path, trust: Trust) -> CheckedBundle:
    """Check signature, expiry and every byte of a bundle, and change nothing."""
    with open_bundle(path) as file:
        bundle = check_head(file, trust, str(path))
        check_time(bundle.manifest, str(path))
        read_files(file, bundle.manifest.files, str(path))
    return bundle


def check_time(manifest: BundleManifest, label: str) -> None:
    """Raise IncompatibleError when a bundle has expired, or the clock does not allow to say."""
    now = datetime.now(timezone.utc)
    with naming(label):
        created = _time(manifest.created_utc)
        expires = _time(manifest.expires_utc) if manifest.expires_utc else None
    if expires is None:
        return
    if now < created - _CLOCK_MAY_LAG:
        raise IncompatibleError(
            f"{label} was made on {manifest.created_utc}, and this device's clock says "
            f"{now.isoformat(timespec='seconds')}: whether the bundle has expired is unknown. Set "
            "the clock."
        )
    if now >= expires:
        raise IncompatibleError(
            f"{label} has expired on {manifest.expires_utc}. Have a new one made, or the clock set "
            f"right: it says {now.isoformat(timespec='seconds')}."
        )


def check_target(target: Target, label: str) -> None:
    """Raise IncompatibleError when a bundle is for other machines than this one."""
    here, name = platform.machine(), platform.node()
    wanted = _ARCHITECTURES.get(target.architecture, target.architecture)
    if wanted and wanted != here:
        raise IncompatibleError(f"{label} is for the architecture {wanted}, this device is {here}.")
    if target.machines and not any(fnmatchcase(name, pattern) for pattern in target.machines):
        raise IncompatibleError(
            f"{label} is for the machines {', '.join(target.machines)}, this device is {name}."
        )


def check_version(
    bundle: CheckedBundle, state: State | None, label: str, *, allow_older: bool
) -> None:
    """Raise IncompatibleError for another product, an older version or one that was taken back."""
    if state is None:
        return
    manifest = bundle.manifest
    if manifest.product != state.product:
        raise IncompatibleError(
            f"{label} is the product {manifest.product}, here is {state.product}. Install it into "
            "its own folder."
        )
    current = state.find(state.current)
    if allow_older or (current is not None and current.manifest_sha256 == bundle.sha256):
        return
    if manifest.version < state.highest:
        raise IncompatibleError(
            f"{label} is version {manifest.version}, and version {state.highest} has been "
            "installed here. An older version may have faults that were repaired since; if a "
            "person wants it nevertheless: --allow-older"
        )
    for past in state.history:
        if past.version == manifest.version:
            _check_installed_before(bundle, past, label)


def _check_installed_before(bundle: CheckedBundle, past: Installation, label: str) -> None:
    """Raise IncompatibleError where a version is not what it was, or was taken back."""
    if past.manifest_sha256 != bundle.sha256:
        raise IncompatibleError(
            f"{label} is version {past.version}, and another bundle with that version was "
            "installed here. Give every bundle its own version."
        )
    if past.removed_for:
        raise IncompatibleError(
            f"{label} is version {past.version}, which was taken back on {past.removed_utc}: "
            f"{past.removed_for}. Install a newer one; if a person wants this one nevertheless: "
            "--allow-older"
        )


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"'{text}' in its manifest is not a time.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
