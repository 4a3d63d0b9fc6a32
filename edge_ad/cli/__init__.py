"""The command line. A verb is imported when it is used, so that `--help` is fast."""

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
    """Run a command; an EdgeAdError becomes one paragraph on stderr and its exit code."""
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
        _print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        converted = _from_os_error(error)
        _print_error(converted)
        sys.exit(converted.exit_code)


def _from_os_error(error: OSError) -> EdgeAdError:
    """Return an EdgeAdError for an error of the system, such as a full disk, raised anywhere.

    Stdout is replaced by the null device: it may have failed, and would fail again at exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    where = f"{error.filename}" if error.filename else "the output"
    if error.errno in _UNWRITABLE:
        converted: EdgeAdError = OutletLost(f"{where}: cannot be written ({error.strerror}).")
    else:
        converted = EdgeAdError(f"{where}: {error.strerror or error}.")
    converted.__cause__ = error
    return converted


def _print_error(error: EdgeAdError) -> None:
    if "--debug" in sys.argv:
        logging.getLogger(__name__).error("", exc_info=error)
    if "--json" in sys.argv:
        kind = type(error).__name__
        record = {"type": "error", "error": kind, "message": str(error), "exit": error.exit_code}
        facts = error.facts if isinstance(error, GateFailed) else {}
        click.echo(json.dumps(facts | record))
    click.echo(f"edge-ad: {error}", err=True)
