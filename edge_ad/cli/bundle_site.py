"""`edge-ad bundle site`, and the line file of a device, which a bundle and its site make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_ad.cli.bundle_options import FOLDER
from edge_ad.cli.options import emit, shared
from edge_ad.errors import EdgeAdError, UsageError

if TYPE_CHECKING:
    from edge_ad.bundle.state import BundleFolder, Installation, State


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@shared
def site(*, folder: Path, as_json: bool) -> None:
    """Check DIR/site.yaml after an edit, and bring it into the line file of the current version.

    Also into that of the version before, so that a rollback keeps what the device says. If it does
    not fit that one, a note says why.
    """
    from edge_ad.bundle.manifest import DEVICE_LINE
    from edge_ad.bundle.state import BundleFolder

    paths = BundleFolder(folder)
    if not paths.linked:
        raise UsageError(f"{folder}: nothing is installed there.")
    with paths.locked():
        state = paths.recover()
        current = state.find(state.current) if state else None
        if state is None or current is None:
            raise UsageError(f"{folder}: nothing is installed there.")
        _write_line(paths, current)
        notes = _write_line_before(paths, state)
    line = paths.link / DEVICE_LINE
    if as_json:
        emit({"type": "site", "line": str(line), "notes": notes})
    else:
        text = f"{line}: written; it holds from the line's next start"
        click.echo("\n".join([text, *notes]))


def line_text(staging: Path, version: Path, home: Path, engines: dict[str, str]) -> str:
    """Return the line file of this device, after checking that the line can start with it."""
    from edge_ad.bundle.manifest import LINE
    from edge_ad.cli.bundle_line import (
        check_line_file,
        check_sources,
        device_line,
        read_line_file,
    )
    from edge_ad.strict_yaml import dump_yaml

    bundled = read_line_file(staging / LINE)
    site_file = home / "site.yaml"
    own = read_line_file(site_file) if site_file.exists() else {}
    tried = device_line(bundled, own, home, staging, engines)
    check_sources(tried, site_file)
    check_line_file(tried, f"{LINE} with {site_file}")
    line = device_line(bundled, own, home, version, engines)
    return f"# made by edge-ad bundle from {LINE} and {site_file}; edit that one\n{dump_yaml(line)}"


def _write_line(paths: BundleFolder, installation: Installation) -> None:
    from edge_ad.bundle.durable import write_durably
    from edge_ad.bundle.manifest import DEVICE_LINE

    version = paths.version(installation.folder)
    text = line_text(version, version, paths.path, _engines_of(installation.plans))
    write_durably(version / DEVICE_LINE, text.encode())


def _write_line_before(paths: BundleFolder, state: State) -> list[str]:
    """Write the line file of the version that a rollback leads to; return why not, if not."""
    before = state.find(state.previous)
    try:
        if before is not None:
            _write_line(paths, before)
    except EdgeAdError as error:
        assert before is not None
        return [f"version {before.version}, to which a rollback leads, stays as it is: {error}"]
    return []


def _engines_of(plans: dict[str, str]) -> dict[str, str]:
    """Return by ONNX file the plan that was built for it on this device."""
    from edge_ad.bundle.manifest import plan_name
    from edge_ad.bundle.plans import BUILT

    return {onnx: plan_name(onnx) for onnx, text in plans.items() if text.startswith(BUILT)}
