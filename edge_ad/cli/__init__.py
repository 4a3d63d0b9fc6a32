"""Words to calls. Verbs are loaded when they are used, so that `--help` answers at once."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys

import click

from edge_ad.cli.verbs import Verbs
from edge_ad.errors import EdgeAdError, GateFailed, OutletLost

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edge-ad")
@click.option("--debug", is_flag=True, help="Log more, and show tracebacks.")
def edge_ad(*, debug: bool) -> None:
    """Anomaly detection for inspection cameras, from images of good parts to an alarm."""
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(message)s")


def main() -> None:
    """Run a command; our own errors become one paragraph on stderr and their exit code."""
    try:
        edge_ad(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EdgeAdError as error:
        _report(error)
        sys.exit(error.exit_code)
    except OSError as error:
        ours = _ours(error)
        _report(ours)
        sys.exit(ours.exit_code)


def _ours(error: OSError) -> EdgeAdError:
    """A full disk or the like, noticed where nobody waits for it.

    Stdout is given up: it may be what failed, and would fail again when the process ends.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    where = f"{error.filename}" if error.filename else "the output"
    if error.errno in _UNWRITABLE:
        ours: EdgeAdError = OutletLost(f"{where}: cannot be written ({error.strerror}).")
    else:
        ours = EdgeAdError(f"{where}: {error.strerror or error}.")
    ours.__cause__ = error
    return ours


def _report(error: EdgeAdError) -> None:
    if "--debug" in sys.argv:
        logging.getLogger(__name__).error("", exc_info=error)
    if "--json" in sys.argv:
        kind = type(error).__name__
        found = {"type": "error", "error": kind, "message": str(error), "exit": error.exit_code}
        facts = error.facts if isinstance(error, GateFailed) else {}
        click.echo(json.dumps(facts | found))
    click.echo(f"edge-ad: {error}", err=True)
