"""`edge-ad bundle inspect`, `verify` and `status`: what a file is, and what a device has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bundle_options import FILE, FOLDER, trust_option
from edge_ad.cli.options import emit, shared
from edge_ad.errors import EdgeAdError
from edge_ad.wording import counted

if TYPE_CHECKING:
    from edge_ad.bundle.health import BundleStatus
    from edge_ad.bundle.manifest import BundleManifest


@click.command()
@click.argument("bundle", type=FILE)
@shared
def inspect(*, bundle: Path, as_json: bool) -> None:
    """Print what BUNDLE says about itself, without believing it: nothing is verified."""
    from edge_ad.bundle.archive import open_bundle, read_head
    from edge_ad.bundle.manifest import parse_manifest
    from edge_ad.bundle.signing import key_ids, parse_signatures

    label = str(bundle)
    with open_bundle(bundle) as file:
        head = read_head(file, label)
    manifest = parse_manifest(head.manifest, label)
    signed_by = list(key_ids(parse_signatures(head.signatures, label)))
    if as_json:
        content = manifest.model_dump(mode="json")
        emit({"type": "bundle", "bundle": label, "signed_by": signed_by, "manifest": content})
        return
    for name, value in _rows(manifest):
        click.echo(f"{name:<12}{value}")
    click.echo(f"{'signed by':<12}{', '.join(signed_by) or 'no key'} (not verified)")


@click.command()
@click.argument("bundle", type=FILE)
@trust_option
@shared
def verify(*, bundle: Path, trust: Path, as_json: bool) -> None:
    """Check signature, expiry and every byte of BUNDLE, and unpack nothing.

    Whether a device may install it also depends on its target and the versions that the device has
    had.
    """
    from edge_ad.bundle.checks import verify_bundle
    from edge_ad.bundle.trust import load_trust

    checked = verify_bundle(bundle, load_trust(trust))
    manifest = checked.manifest
    if as_json:
        emit(
            {
                "type": "verified",
                "bundle": str(bundle),
                "product": manifest.product,
                "version": manifest.version,
                "signed_by": list(checked.signers),
                "files": len(manifest.files),
            }
        )
        return
    click.echo(
        f"{bundle}: {manifest.product} version {manifest.version}, {len(manifest.files)} files "
        f"whole, signed by {', '.join(checked.signers)}"
    )


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--trust", type=FILE, help="Also check that its signature is still trusted.")
@shared
def status(*, folder: Path, trust: Path | None, as_json: bool) -> None:
    """Print which version DIR runs, and check that all of its files are whole.

    Ends with exit code 1 when something is missing or changed.
    """
    from edge_ad.bundle.health import read_status
    from edge_ad.bundle.trust import load_trust

    found = read_status(folder, load_trust(trust) if trust else None)
    if as_json:
        emit(_status_json(folder, found))
    else:
        for name, value in _status_rows(found):
            click.echo(f"{name:<12}{value}")
    if found.problems:
        raise EdgeAdError(
            f"{folder}: {'; '.join(found.problems)}. Install the bundle again, or roll back."
        )


def _rows(manifest: BundleManifest) -> Iterator[tuple[str, str]]:
    yield "product", f"{manifest.product}, version {manifest.version}"
    if manifest.note:
        yield "note", manifest.note
    yield "made", f"{manifest.created_utc} with edge-ad {manifest.made_with}"
    yield "expires", manifest.expires_utc or "never"
    target = manifest.target
    wanted = [*([target.architecture] if target.architecture else []), *target.machines]
    yield "for", ", ".join(wanted) or "any machine"
    test = manifest.self_test
    limit = f", at most {test.latency_ms:g} ms" if test.latency_ms else ""
    yield (
        "self-test",
        f"{len(test.images)} images for {counted(len(test.cameras), 'camera')}{limit}",
    )
    watch = manifest.watch
    yield (
        "watch",
        (
            f"{watch.minutes:g} minutes and {watch.parts} parts; rejects {watch.reject_rate:.1%}, "
            f"invalid {watch.invalid_rate:.1%}, or {watch.rise:g} times as before"
        ),
    )
    for file in manifest.files:
        built = "  (plan on devices with a GPU)" if file.name in manifest.plans else ""
        yield "file", f"{file.name}  {file.size} bytes  {file.sha256[:12]}{built}"


def _status_rows(found: BundleStatus) -> Iterator[tuple[str, str]]:
    current, previous, watch = found.current, found.previous, found.state.watch
    yield "product", found.state.product
    if current is None:
        yield "current", "nothing"
    else:
        by = ", ".join(current.signers)
        yield "current", f"version {current.version} ({current.folder}), signed by {by}"
        yield "installed", f"{current.installed_utc} by {current.who} from {current.source}"
        for name, text in current.plans.items():
            yield "engine", f"{name}: {text}"
    yield "before", f"version {previous.version} ({previous.folder})" if previous else "nothing"
    yield "highest", f"version {found.state.highest} was ever installed"
    if watch is not None:
        reason = f": {watch.reason}" if watch.reason else ""
        other = found.state.title_of(watch.folder) if watch.folder != found.state.current else ""
        outcome = watch.outcome or f"since {watch.since_utc}"
        yield "watch", f"{other} {outcome}{reason}".lstrip()
    for one in found.state.history:
        if one.removed_for:
            yield "taken back", f"version {one.version} on {one.removed_utc}: {one.removed_for}"
    for note in found.notes:
        yield "note", note


def _status_json(folder: Path, found: BundleStatus) -> dict[str, Any]:
    state, manifest = found.state, found.manifest
    return {
        "type": "status",
        "folder": str(folder),
        "product": state.product,
        "version": found.current.version if found.current else None,
        "current": found.current.model_dump(mode="json") if found.current else None,
        "previous": found.previous.model_dump(mode="json") if found.previous else None,
        "highest": state.highest,
        "expires_utc": manifest.expires_utc if manifest else None,
        "watch": state.watch.model_dump(mode="json") if state.watch else None,
        "taken_back": [one.model_dump(mode="json") for one in state.history if one.removed_for],
        "problems": found.problems,
        "notes": found.notes,
    }
