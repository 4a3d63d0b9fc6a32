"""`edge-ad bundle install`, `watch` and `rollback`: what changes a device."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bundle_options import (
    FILE,
    FOLDER,
    restart_option,
    run_restart,
    trust_option,
)
from edge_ad.cli.bundle_site import line_text
from edge_ad.cli.options import emit, shared
from edge_ad.cli.signals import Signals
from edge_ad.errors import EdgeAdError, UsageError

if TYPE_CHECKING:
    from edge_ad.bundle.download import Download
    from edge_ad.bundle.install import InstallResult

_DIR = click.argument("folder", metavar="DIR", type=FOLDER)


@click.command()
@click.argument("source", metavar="BUNDLE")
@click.option("--into", "folder", required=True, type=FOLDER, metavar="DIR", help="Device folder.")
@trust_option
@click.option("--allow-older", is_flag=True, help="Install an older version, or one taken back.")
@click.option(
    "--again", is_flag=True, help="Also if it is current, as after an update of TensorRT."
)
@restart_option
@click.option("--watch", is_flag=True, help="Then watch it, as edge-ad bundle watch does.")
@click.option("--ca", type=FILE, help="Certificates to trust for https instead of the system's.")
@click.option(
    "--max-mib",
    default=4096,
    show_default=True,
    type=click.IntRange(1),
    help="Largest file to fetch.",
)
@shared
def install(*, source: str, folder: Path, as_json: bool, **options: Any) -> None:
    """Install BUNDLE, a file or an https:// address, and switch the line to it.

    Signature, content, expiry, version and target are checked before anything is unpacked; then
    plans are built where there is a GPU, the line is checked, and the test images are judged. A
    failure at any step leaves the running version as it is.
    """
    with Signals(_Interrupt()):
        result = _install(source, folder, options)
    installed = _installed(folder, result)
    restarted = bool(options["restart"]) and result.tested is not None
    if restarted:
        _restart(folder, result.state.current, options["restart"])
    emit(installed | {"restarted": restarted}) if as_json else click.echo(
        _format_installed(installed, options["restart"])
    )
    if options["watch"]:
        _watch(folder, options["restart"], as_json=as_json)


@click.command()
@_DIR
@restart_option
@shared
def watch(*, folder: Path, restart: str | None, as_json: bool) -> None:
    """Watch the first minutes of the version in DIR, and take it back if it misbehaves.

    The line's store has its rejects, invalid parts, camera faults and starts, before and since the
    switch; the limits are the bundle's. Ends with exit code 0 when the version is accepted, with 4
    when it was taken back. The reason is an event of type `bundle`. It may be started again at any
    time.
    """
    _watch(folder, restart, as_json=as_json)


@click.command()
@_DIR
@click.option("--reason", default="by hand", show_default=True, help="Why; it is kept.")
@restart_option
@shared
def rollback(*, folder: Path, reason: str, restart: str | None, as_json: bool) -> None:
    """Switch DIR back to the version before."""
    from edge_ad.bundle.install import roll_back
    from edge_ad.bundle.state import BundleFolder
    from edge_ad.machine.user import user_name

    reason = reason.strip() or "by hand"  # by its reason, a version counts as taken back
    before = BundleFolder(folder).load()
    state = roll_back(folder, reason, who := user_name())
    notes = _record_rollback(folder, before.title if before else "", reason, who)
    if restart:
        run_restart(restart)
    if as_json:
        emit({"type": "rollback", "current": state.current, "reason": reason, "notes": notes})
    else:
        lines = [f"{folder}: back to {state.title}", *notes, *_next_step(folder, restart)]
        click.echo("\n".join(lines))


class _Interrupt(threading.Event):
    """Turns the first Ctrl-C or `kill` into an end at once: what has begun is left behind."""

    def set(self) -> None:
        raise KeyboardInterrupt


def _install(source: str, folder: Path, options: dict[str, Any]) -> InstallResult:
    from edge_ad.bundle.install import InstallRequest
    from edge_ad.bundle.install import install as install_bundle
    from edge_ad.bundle.trust import load_trust
    from edge_ad.machine.user import user_name
    from edge_ad.uri import without_credentials

    trust = load_trust(options["trust"])
    with _bundle(source, folder, options) as bundle:
        result = install_bundle(
            InstallRequest(
                folder=folder,
                bundle=bundle,
                trust=trust,
                write_line=partial(_write_line, folder),
                source=without_credentials(source),
                who=user_name(),
                allow_older=options["allow_older"],
                again=options["again"],
                on_step=_show_step,
            )
        )
    if result.tested is not None:
        _record(folder, "install", result.state.title, user_name())
    return result


@contextmanager
def _bundle(
    source: str, folder: Path, options: dict[str, Any]
) -> Iterator[Path | Callable[[], Path]]:
    """Give a bundle's file, or what fetches it; what was fetched is forgotten unless interrupted.

    A fetched file that is no good is forgotten, too, so that the next attempt begins at its start.
    """
    if "://" not in source:
        yield Path(source)
        return
    from edge_ad.bundle.download import fetch_bundle, forget_download
    from edge_ad.errors import DataError

    download = _download(source, folder, options)
    try:
        yield partial(fetch_bundle, download)
    except DataError:
        forget_download(download.path)
        raise
    forget_download(download.path)


def _download(source: str, folder: Path, options: dict[str, Any]) -> Download:
    import time

    from edge_ad.bundle.download import Download
    from edge_ad.bundle.state import BundleFolder

    return Download(
        source,
        BundleFolder(folder).downloads,
        options["max_mib"] << 20,
        time.sleep,
        ca=options["ca"],
        progress=lambda text: click.echo(text, err=True),
    )


def _write_line(folder: Path, staging: Path, version: Path, engines: dict[str, str]) -> None:
    """Write the line file of this device for a version that is unpacked in `staging`."""
    from edge_ad.bundle.durable import write_durably
    from edge_ad.bundle.manifest import DEVICE_LINE

    text = line_text(staging, version, folder.absolute(), engines)
    write_durably(staging / DEVICE_LINE, text.encode())


def _show_step(step: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"  {step}", err=True)


def _record(folder: Path, step: Any, reason: str, who: str) -> list[str]:
    """Add an event to the line's store; return notes on what went wrong."""
    from edge_ad.bundle.events import record_bundle_event
    from edge_ad.bundle.output import output_of

    problem = record_bundle_event(output_of(folder), step, reason, who)
    return [problem] if problem else []


def _record_rollback(folder: Path, version: str, reason: str, who: str) -> list[str]:
    """Record that a version was taken back, in the words of the watch."""
    return _record(folder, "rollback", f"{version} is taken back: {reason}", who)


def _restart(folder: Path, installed: str, restart: str) -> None:
    """Start the line again; when that fails, take the version back and start the one before."""
    from edge_ad.bundle.install import note_restart, roll_back
    from edge_ad.machine.user import user_name

    note_restart(folder)
    try:
        run_restart(restart)
    except EdgeAdError as error:
        reason = f"the line could not be started again: {error}".rstrip(".")
        try:
            state = roll_back(folder, reason, user_name(), only=installed)
        except UsageError:  # the first version here: there is none to go back to
            raise error from None
        _record_rollback(folder, state.title_of(installed), reason, user_name())
        with suppress(EdgeAdError):
            run_restart(restart)
        raise EdgeAdError(f"{reason}. {folder} is back at {state.title}.") from error


def _watch(folder: Path, restart: str | None, *, as_json: bool) -> None:
    from edge_ad.bundle.supervise import watch_version
    from edge_ad.machine.user import user_name

    stop = threading.Event()
    with Signals(stop) as signals:
        result = watch_version(
            folder,
            stop,
            user_name(),
            restart=(lambda: run_restart(restart)) if restart else None,
            progress=_show_step,
        )
    if stop.is_set():
        click.echo("interrupted; the same command goes on", err=True)
        sys.exit(128 + (signals.received or signal.SIGINT))
    emit({"type": "watch"} | result) if as_json else click.echo(
        f"{folder}: {result['version']} {result['outcome']}: {result['reason']}"
    )


def _installed(folder: Path, result: InstallResult) -> dict[str, Any]:
    manifest, state = result.bundle.manifest, result.state
    current = state.find(state.current)
    return {
        "type": "install",
        "folder": str(folder),
        "product": manifest.product,
        "version": manifest.version,
        "current": state.current,
        "previous": state.previous,
        "signed_by": list(result.bundle.signers),
        "self_test": result.tested.as_json() if result.tested else None,
        "plans": current.plans if current else {},
        "changed": result.tested is not None,
    }


def _format_installed(facts: dict[str, Any], restart: str | None) -> str:
    name = f"{facts['folder']}: {facts['product']} version {facts['version']}"
    if not facts["changed"]:
        return f"{name} is installed already, and whole"
    test = facts["self_test"]
    lines = [
        f"{name} is current, signed by {', '.join(facts['signed_by'])}",
        f"self-test: {test['images']} images, scores within "
        f"{test['worst_share_of_tolerance']:.0%} of the tolerance, "
        f"median {test['latency_ms']:.1f} ms an image",
        *(f"{name}: {text}" for name, text in facts["plans"].items()),
        *_next_step(facts["folder"], restart),
    ]
    return "\n".join(lines)


def _next_step(folder: Path | str, restart: str | None) -> list[str]:
    """Return what is left to do: a line that runs keeps to the version that it started with."""
    if restart:
        return []
    return [f"next: start the line again with edge-ad run -c {folder}/current/run.yaml"]
