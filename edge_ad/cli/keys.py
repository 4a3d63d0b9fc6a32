"""`edge-ad keys`: make signing keys, and say which ones a device trusts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bundle_options import (
    DEFAULT_TRUST,
    FILE,
    PASSPHRASE,
    open_key,
    read_passphrase,
    trust_option,
)
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import check_writable
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.bundle.signing import PublicKey
    from edge_ad.bundle.trust import Trust


@click.group()
def command() -> None:
    """Make keys that sign bundles, and keep the list of keys that a device trusts."""


@command.command()
@click.argument("file", type=FILE)
@click.option(
    "--passphrase",
    is_flag=True,
    help=f"Encrypt it; the passphrase comes from {PASSPHRASE} or is asked for.",
)
@shared
def new(*, file: Path, passphrase: bool, as_json: bool) -> None:
    """Make a private key FILE, which only you can read, and the public key FILE.pub."""
    from edge_ad.bundle.signing import new_key
    from edge_ad.files import write_text

    check_writable(file)
    public_file = file.with_name(f"{file.name}.pub")
    if public_file.exists():
        raise UsageError(f"{public_file} exists. Name another file.")
    secret = read_passphrase(f"Passphrase for {file}", twice=True) if passphrase else None
    if passphrase and not secret:
        raise UsageError("the passphrase is empty. Leave --passphrase out for a key without one.")
    key = new_key()
    key.write(file, secret)
    write_text(public_file, f"{key.public}\n")
    _print_key(key.public, "", as_json=as_json, file=str(file), public_file=str(public_file))


@command.command()
@click.argument("key", required=False)
@click.option("--trust", type=FILE, default=DEFAULT_TRUST, show_default=True,
              help="Without KEY: the file to list.")  # fmt: skip
@shared
def show(*, key: str | None, trust: Path, as_json: bool) -> None:
    """Print the public half of KEY, a file or text; without KEY the keys that are trusted."""
    from edge_ad.bundle.trust import load_trust

    if key is not None:
        return _print_key(_public(key), "", as_json=as_json)
    known = load_trust(trust)
    records = _trust_records(known)
    if as_json:
        emit({"type": "trust", "file": str(trust), "keys": records})
        return
    for one in records:
        why = f"  REVOKED {one['revoked']}" if one["revoked"] is not None else ""
        click.echo(f"{one['key_id']}  {one['name'] or '-'}{why}")
    if not records:
        click.echo(f"{trust}: no key is trusted")


@command.command()
@click.argument("key")
@click.option("--name", help="Whose key it is. Default: the name of its file.")
@trust_option
@shared
def trust(*, key: str, name: str | None, trust: Path, as_json: bool) -> None:
    """Trust bundles that KEY has signed; KEY is a file FILE.pub or the text in it."""
    from edge_ad.bundle.trust import Trust, load_trust, save_trust

    public = _public(key)
    known = load_trust(trust) if trust.exists() else Trust()
    label = name or _name_of(known, public, key)
    if not label:
        raise UsageError("--name is missing: say whose key it is.")
    check_writable(trust)
    save_trust(trust, known.adding(label, public))
    _print_key(public, label, as_json=as_json, trust=str(trust))


@command.command()
@click.argument("key")
@click.option("--reason", default="", help="Why; it is shown when a bundle is refused.")
@trust_option
@shared
def revoke(*, key: str, reason: str, trust: Path, as_json: bool) -> None:
    """Trust KEY no more: the name or id of a key, FILE.pub, or the text in it.

    What is installed goes on; bundles that no other trusted key has signed are refused.
    """
    from edge_ad.bundle.trust import load_trust, save_trust

    known = load_trust(trust)
    match = known.find(key)
    if match is None and len(key) == 16 and not key.strip("0123456789abcdef"):
        key_id = key  # a key that is not here yet may be revoked before it comes
    else:
        names = ", ".join(f"{one.name!r}" for one in known.keys) or "none"
        other = f"or a name or id of a key in {trust} (names there: {names})"
        key_id = (match.public if match else _public(key, other)).key_id
    check_writable(trust)
    save_trust(trust, known.revoking(key_id, reason))
    if as_json:
        emit({"type": "revoked", "key_id": key_id, "reason": reason, "trust": str(trust)})
    else:
        click.echo(f"{key_id}: revoked in {trust}")


def _name_of(known: Trust, public: PublicKey, key: str) -> str:
    """Return the name of a key that is trusted already, else that of its file."""
    if trusted := known.by_id(public.key_id):
        return trusted.name
    return Path(key).name.removesuffix(".pub") if Path(key).exists() else ""


def _public(key: str, other: str = "") -> PublicKey:
    """Return the public key that a file or a text has; of a private key its public half.

    `other` are further things that KEY may be, for the error's text.
    """
    from edge_ad.bundle.signing import parse_public

    path = Path(key)
    if key.startswith("ed25519:"):
        return parse_public(key, "KEY")
    if not path.is_file():
        raise UsageError(
            f"{key}: no such file, and no key like ed25519:BASE64. Expected one of these"
            + (f", {other}." if other else ".")
        )
    text = path.read_bytes()[:16384].decode("utf-8", "replace")
    if "PRIVATE KEY" in text:
        return open_key(path).public
    return parse_public(text.strip(), key)


def _print_key(public: PublicKey, name: str, *, as_json: bool, **files: str) -> None:
    if as_json:
        emit({"type": "key", "key_id": public.key_id, "public": str(public), "name": name} | files)
        return
    click.echo(f"key_id  {public.key_id}\npublic  {public}")
    for what, file in files.items():
        click.echo(f"{what.replace('_', ' ')}  {file}")


def _trust_records(known: Trust) -> list[dict[str, Any]]:
    reasons = {one.key_id: one.reason for one in known.revoked}
    records: list[dict[str, Any]] = [
        {
            "key_id": key.public.key_id,
            "name": key.name,
            "public": key.key,
            "revoked": reasons.pop(key.public.key_id, None),
        }
        for key in known.keys
    ]
    records += [
        {"key_id": key_id, "name": "", "public": "", "revoked": reason}
        for key_id, reason in reasons.items()
    ]
    return records
