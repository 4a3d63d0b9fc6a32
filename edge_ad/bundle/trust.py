"""The trust file: whose bundles a device installs. An administrator owns it.

keys:
  - name: release 2026
    key: ed25519:…
revoked:
  - key_id: 0123456789abcdef
    reason: laptop stolen
    revoked_utc: '2026-11-28T10:00:00.000+00:00'
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_ad.bundle.signing import PublicKey, Signatures, key_ids, parse_public
from edge_ad.clock import now_utc
from edge_ad.errors import DataError, IncompatibleError, UsageError
from edge_ad.files import replacing
from edge_ad.strict_yaml import decode, dump_yaml, parse_yaml

DEFAULT_TRUST = Path("/etc/edge-ad/trust.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TrustedKey(_Strict):
    """A public key and whose it is."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    key: str

    @property
    def public(self) -> PublicKey:
        """The key."""
        return parse_public(self.key, f"key {self.name!r}")


class RevokedKey(_Strict):
    """A key that counts no more, whether or not it still stands among the trusted ones."""

    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    reason: str = ""
    revoked_utc: str = ""


class Trust(_Strict):
    """The keys that a device trusts, and those that are revoked."""

    keys: tuple[TrustedKey, ...] = ()
    revoked: tuple[RevokedKey, ...] = ()

    def find(self, name: str) -> TrustedKey | None:
        """Return the key with that name, id or text."""
        for trusted in self.keys:
            if name in (trusted.name, trusted.public.key_id, trusted.key):
                return trusted
        return None

    def by_id(self, key_id: str) -> TrustedKey | None:
        """Return the key with that id."""
        return next((key for key in self.keys if key.public.key_id == key_id), None)

    def revocation(self, key_id: str) -> RevokedKey | None:
        """Return why a key is revoked, None when it is not."""
        return next((one for one in self.revoked if one.key_id == key_id), None)

    def adding(self, name: str, key: PublicKey) -> Trust:
        """Return this trust with one key more, or with a new name for one that it has.

        Raises UsageError for a name that is taken, and for a revoked key.
        """
        known = self.find(name)
        if known and known.public != key:
            raise UsageError(f"another key is called {name!r}. Choose another name.")
        if self.revocation(key.key_id):
            raise UsageError(f"key {key.key_id} is revoked. Make a new one: edge-ad keys new")
        others = tuple(one for one in self.keys if one.public != key)
        return self.model_copy(update={"keys": (*others, TrustedKey(name=name, key=str(key)))})

    def revoking(self, key_id: str, reason: str) -> Trust:
        """Return this trust with a key revoked."""
        if self.revocation(key_id):
            return self
        revoked = RevokedKey(key_id=key_id, reason=reason, revoked_utc=now_utc())
        return self.model_copy(update={"revoked": (*self.revoked, revoked)})


def load_trust(path: Path) -> Trust:
    """Read a trust file. Raises UsageError for one that is absent, wrong or anybody's to change."""
    try:
        with path.open("rb") as file:  # one look: another file may have its name at the next
            status = os.fstat(file.fileno())
            content = parse_yaml(decode(file.read()))
    except FileNotFoundError:
        raise UsageError(
            f"{path}: there is no trust file, so no bundle is trusted. Make it with: "
            f"edge-ad keys trust KEY.pub --trust {path}"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error}).") from error
    _check_owner(path, status)
    try:
        trust = Trust.model_validate_json(json.dumps(content or {}))
        ids = [key.public.key_id for key in trust.keys]
    except (ValidationError, UsageError, TypeError) as error:
        text = " ".join(str(error).split("\n")[:3])
        raise UsageError(f"{path}: not a valid trust file: {text}") from error
    if len(set(ids)) < len(ids) or len({key.name for key in trust.keys}) < len(ids):
        raise UsageError(f"{path}: a key or a name stands twice. Keep one.")
    return trust


def save_trust(path: Path, trust: Trust) -> None:
    """Write a trust file that others cannot change, with any umask. Raises OSError."""
    with replacing(path) as temporary:
        temporary.write_text(dump_yaml(trust.model_dump(mode="json")), encoding="utf-8")
        temporary.chmod(temporary.stat().st_mode & ~(stat.S_IWGRP | stat.S_IWOTH))


def check_signatures(
    manifest: bytes, signatures: Signatures, trust: Trust, label: str
) -> Sequence[str]:
    """Return the names of the trusted keys that have signed, at least one.

    Raises DataError for a signature that does not fit the manifest, IncompatibleError when no key
    is trusted or all that are have been revoked.
    """
    signers, revoked = [], []
    for key_id, signature in signatures.by_key().items():
        key = trust.by_id(key_id)
        if reason := trust.revocation(key_id):
            revoked.append(f"{key_id} is revoked" + (f" ({reason.reason})" * bool(reason.reason)))
        elif key is not None:
            if not key.public.has_signed(manifest, signature):
                raise DataError(
                    f"{label}: the signature of {key.name!r} does not fit its manifest. It was "
                    "changed after signing; copy it again."
                )
            signers.append(key.name)
    if not signers:
        raise IncompatibleError(f"{label} is not trusted: {_why(signatures, revoked)}")
    return signers


def _why(signatures: Signatures, revoked: Sequence[str]) -> str:
    if not signatures.signatures:
        return "it has no signature. Sign it with: edge-ad bundle sign"
    if revoked:
        return f"key {', '.join(revoked)}. Have it signed with another key that is trusted here."
    return (
        f"it is signed by key {', '.join(key_ids(signatures))}, which is not in the trust file. "
        "If that key is yours, add it: edge-ad keys trust KEY.pub"
    )


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"{path}: others may change this trust file. Run: chmod go-w {path}")
    folder = path.absolute().parent
    if folder.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        raise UsageError(
            f"{path}: everybody may put another file into its folder. Run: chmod o-w {folder}"
        )
    if status.st_uid not in (0, os.geteuid()):
        raise UsageError(
            f"{path}: belongs to user {status.st_uid}, expected root or you. Run: chown root {path}"
        )
