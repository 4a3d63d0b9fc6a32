"""The command line. A verb is imported when it is used, so that `--help` is fast."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys

import click

from edge_ad.cli.session import Session, current_session, discard_stdout, repair_streams
from edge_ad.cli.verbs import Verbs
from edge_ad.errors import EdgeAdError, GateFailed, InvalidConfig, OutletLost, UsageError

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # to look for some takes 20 ms
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EBADF)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edge-ad")
@click.option(
    "--debug", is_flag=True, envvar="EDGE_AD_DEBUG", help="Log more, and show tracebacks."
)
@click.pass_context
def edge_ad(ctx: click.Context, *, debug: bool) -> None:
    """Anomaly detection for inspection cameras, from images of good parts to an alarm."""
    current_session(ctx).debug = debug
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(message)s")


def main() -> None:
    """Run a command; an EdgeAdError becomes one paragraph on stderr and its exit code."""
    repair_streams()
    session = Session(as_json="--json" in sys.argv)
    try:
        edge_ad(standalone_mode=False, obj=session)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        _print_record(session, "UsageError", error.format_message(), error.exit_code)
        error.show()
        sys.exit(error.exit_code)
    except EdgeAdError as error:
        _fail(session, error)
    except OSError as error:
        discard_stdout()
        _fail(session, _from_os_error(error))
    except ImportError as error:
        _fail(session, _from_import_error(error))
    except UnicodeEncodeError as error:
        _fail(session, _from_text_error(error))


def _from_os_error(error: OSError) -> EdgeAdError:
    """Return an EdgeAdError for an error of the system, such as a full disk, raised anywhere."""
    where = f"{error.filename}" if error.filename else "the output"
    if error.errno in _UNWRITABLE:
        converted: EdgeAdError = OutletLost(f"{where}: cannot be written ({error.strerror}).")
    else:
        converted = EdgeAdError(f"{where}: {error.strerror or error}.")
    converted.__cause__ = error
    return converted


def _from_text_error(error: UnicodeEncodeError) -> EdgeAdError:
    """Return an EdgeAdError for a word of the command that is no Unicode; raise any other error."""
    from edge_ad.files import readable

    text = error.object[max(0, error.start - 100) : error.end + 100]
    if readable(text) == text:
        raise error
    converted = UsageError(
        f"'{readable(text)}' is not UTF-8 text, which names and remarks here must be. Write it "
        "in UTF-8, or rename the file."
    )
    converted.__cause__ = error
    return converted


def _from_import_error(error: ImportError) -> EdgeAdError:
    """Return an EdgeAdError when OpenCV does not load; raise any other error."""
    from edge_ad.machine.opencv import require_opencv

    try:
        require_opencv()
    except EdgeAdError as problem:
        return problem
    raise error


def _fail(session: Session, error: EdgeAdError) -> None:
    if session.debug:
        logging.getLogger(__name__).error("", exc_info=error)
    facts = error.facts if isinstance(error, (GateFailed, InvalidConfig)) else {}
    _print_record(session, type(error).__name__, str(error), error.exit_code, facts)
    click.echo(f"edge-ad: {error}", err=True)
    sys.exit(error.exit_code)


def _print_record(
    session: Session, kind: str, message: str, code: int, facts: dict[str, object] | None = None
) -> None:
    """Print the error as JSON, if that was asked for and stdout still works."""
    if not session.as_json:
        return
    record = {"type": "error", "error": kind, "message": message, "exit": code}
    try:
        click.echo(json.dumps((facts or {}) | record))
    except OSError:
        discard_stdout()
