"""Ed25519 keys and signatures; the only module of this room that imports `cryptography`.

A private key is a PEM file (PKCS #8), encrypted if there is a passphrase. A public key is written
`ed25519:BASE64`; its id is the first 16 hexadecimal digits of the sha256 of its 32 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_ad.bundle.manifest import SIGNATURES
from edge_ad.errors import DataError, MissingExtra, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_CONTEXT = b"edge-ad bundle manifest 1\0"  # a signature for anything else does not fit
_PREFIX = "ed25519:"
_LONGEST_KEY = 16 << 10  # bytes of a key file


class _Signature(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    key_id: str
    signature: str


class Signatures(BaseModel):
    """The content of `signatures.json`: one signature of the manifest by each key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    signatures: tuple[_Signature, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the one way to write these signatures."""
        return f"{json.dumps(self.model_dump(mode='json'), indent=1)}\n".encode()

    def by_key(self) -> dict[str, bytes]:
        """Return the signatures by key id."""
        return {one.key_id: base64.b64decode(one.signature) for one in self.signatures}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: 32 bytes."""

    raw: bytes

    @property
    def key_id(self) -> str:
        """The 16 hexadecimal digits that name the key."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.raw).decode()

    def has_signed(self, manifest: bytes, signature: bytes) -> bool:
        """Return whether the signature is this key's for the manifest."""
        _require()
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, _CONTEXT + manifest)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key, which is never printed."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, manifest: bytes, signatures: Signatures) -> Signatures:
        """Return the signatures with this key's for the manifest."""
        signature = base64.b64encode(self._key.sign(_CONTEXT + manifest)).decode()
        own = _Signature(key_id=self.public.key_id, signature=signature)
        others = tuple(one for one in signatures.signatures if one.key_id != own.key_id)
        return Signatures(signatures=(*others, own))

    def write(self, path: Path, passphrase: str | None) -> None:
        """Write the key to a new file that only its owner can read. Raises UsageError, OSError."""
        from cryptography.hazmat.primitives import serialization as form

        encryption: Any = form.NoEncryption()
        if passphrase:
            encryption = form.BestAvailableEncryption(passphrase.encode())
        pem = self._key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption)
        write_secret(path, pem)


def new_key() -> SigningKey:
    """Make a key. Raises MissingExtra without the package cryptography."""
    _require()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return SigningKey(Ed25519PrivateKey.generate())


def needs_passphrase(path: Path) -> bool:
    """Return whether a private key is encrypted. Raises like `load_key`."""
    return b"ENCRYPTED PRIVATE KEY" in _read_key_file(path)


def load_key(path: Path, passphrase: str | None) -> SigningKey:
    """Read a private key. Raises UsageError for one that others can read or that is not a key."""
    _require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = _read_key_file(path)
    try:
        secret = passphrase.encode() if passphrase else None
        key = serialization.load_pem_private_key(pem, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # not shown: the texts of these errors may have parts of the key
        wrong = "the passphrase is wrong" if b"ENCRYPTED" in pem else "no private key in PEM"
        raise UsageError(
            f"{path}: {wrong}. Expected a file that edge-ad keys new wrote."
        ) from type(error)("not shown")
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: not an Ed25519 key. Make one with: edge-ad keys new")
    return SigningKey(key)


def parse_public(text: str, label: str) -> PublicKey:
    """Return the key that is written `ed25519:BASE64`. Raises UsageError."""
    try:
        raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32 or str(PublicKey(raw)) != text:
        raise UsageError(f"{label}: not a public key. Expected {_PREFIX} and 44 characters.")
    return PublicKey(raw)


def parse_signatures(data: bytes, label: str) -> Signatures:
    """Return the content of `signatures.json`. Raises DataError unless it is as written."""
    try:
        signatures = Signatures.model_validate_json(data)
        lengths = {len(signature) for signature in signatures.by_key().values()}
        texts = [base64.b64encode(value).decode() for value in signatures.by_key().values()]
    except (ValidationError, ValueError) as error:
        raise DataError(f"{label}: {SIGNATURES} is damaged.") from error
    written = [one.signature for one in signatures.signatures]
    if lengths - {64} or texts != written or signatures.to_bytes() != data:
        raise DataError(f"{label}: {SIGNATURES} is damaged.")
    return signatures


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file with mode 0600. Raises UsageError when the file exists, OSError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(
            f"{path} exists, and a key that is overwritten is lost. Name another file."
        ) from None
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _read_key_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LONGEST_KEY)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if b"PRIVATE KEY" in data and mode & 0o077:
        raise UsageError(
            f"{path}: others may read this private key (mode {mode & 0o777:04o}). If none "
            f"has, run: chmod 600 {path}; otherwise make a new key and revoke this one."
        )
    return data


def _require() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingExtra("signing and verifying bundles", "cryptography", "bundle") from error


def key_ids(signatures: Signatures) -> Sequence[str]:
    """Return the ids of the keys that have signed."""
    return [one.key_id for one in signatures.signatures]
