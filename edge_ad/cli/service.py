"""`edge-ad service`: a line as a systemd service."""

from __future__ import annotations

import getpass
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edge_ad.cli.options import emit, shared
from edge_ad.errors import UsageError

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PLAIN = re.compile(r"[A-Za-z0-9_@%$+=:,./~*?!-]+")

# Python prints the stacks of all threads when the watchdog aborts it: they say what hung.
_UNIT = """\
# {unit}.service, made by: edge-ad service. Install it with
#   edge-ad service {name} RUN-OPTIONS... | sudo tee /etc/systemd/system/{unit}.service
#   sudo systemctl enable --now {unit}
[Unit]
Description=edge-ad line {name}
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User={user}
WorkingDirectory={folder}
Environment=PYTHONFAULTHANDLER=1
# where references such as ${{ENV:NAME}} lead: NAME=VALUE a line, read by root, may be missing
EnvironmentFile=-/etc/edge-ad/{name}.env
ExecStart={command}
WatchdogSec=30
TimeoutStartSec=300
TimeoutStopSec=60
KillMode=mixed
# 7: the GPU is lost, 5: a camera; 2: wrong options, which another start would not change
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
LimitCORE=0
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectControlGroups=yes

[Install]
WantedBy=multi-user.target
"""


@click.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
@click.option("--user", help="User that the line runs as. Default: the one that runs this.")
@click.argument("name", metavar="NAME")
@click.argument(
    "arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="RUN-OPTIONS..."
)
@shared
def command(*, user: str | None, name: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Print a systemd unit that runs a line, starts it again, and watches over it.

    NAME is the service's; what follows are the options of `edge-ad run`, which are checked. Paths
    in them are relative to the folder that this is called in.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is not a service name. Use letters, digits, '-' and '_'.")
    _check(arguments)
    _warn_of_secrets(arguments)
    text = unit_text(name, arguments, user or _own_user(), Path.cwd())
    emit({"type": "service", "name": f"edge-ad-{name}.service", "unit": text}) if as_json else (
        click.echo(text, nl=False)
    )


def unit_text(name: str, arguments: Sequence[str], user: str, folder: Path) -> str:
    """Return the unit of a line. Raises UsageError for an argument that a unit cannot have."""
    words = [sys.executable, "-m", "edge_ad", "run", *arguments]
    if "--quiet" not in arguments:
        words.append("--quiet")  # the journal has changes, not frames
    return _UNIT.format(
        name=name,
        unit=f"edge-ad-{name}",
        user=user,
        folder=str(folder).replace("%", "%%"),
        command=" ".join(map(_quoted, words)),
    )


def _own_user() -> str:
    """Return the name of the user who runs this; the number of one without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _check(arguments: Sequence[str]) -> None:
    """Raise what `edge-ad run` would raise for its options."""
    from edge_ad.cli.run import command as run

    with run.make_context("edge-ad run", list(arguments)) as context:
        if context.params["as_json"]:
            raise UsageError(
                "--json would write every frame to the journal. Leave it out; edge-ad events DIR "
                "--follow --json has what happens."
            )
        for option in ("show", "check", "schema", "overwrite"):
            if context.params.get(option):
                raise UsageError(f"--{option} is not for a service. Leave it out.")


def _warn_of_secrets(arguments: Sequence[str]) -> None:
    from edge_ad.uri import with_hidden_credentials

    for shown in (with_hidden_credentials(word) for word in arguments):
        if "***" in shown:
            _log.warning(
                "%s: everybody on this computer can read what is hidden here, in the unit and in "
                "the list of processes. Name it by a reference, such as ${FILE:/etc/line/key}.",
                shown,
            )


def _quoted(word: str) -> str:
    """Return a word as `ExecStart=` wants it: specifiers, variables and quotes escaped."""
    if "\n" in word:
        raise UsageError("a unit cannot hold an option with a line break.")
    escaped = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(escaped):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'
