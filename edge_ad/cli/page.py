"""`edge-ad page`: the operator's page of a line."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.address import is_loopback, listen_address
from edge_ad.cli.options import emit, shared
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    import ssl

    from edge_ad.page.application import PageSettings
    from edge_ad.page.users import UserFile

_log = logging.getLogger(__name__)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where browsers find it; port 0 takes a free one. Other computers need TLS and users.",
)
@click.option("--cert", type=_FILE, help="Certificate for TLS (PEM), with those of its issuers.")
@click.option("--key", type=_FILE, help="Its private key (PEM), if that is in another file.")
@click.option(
    "--users", type=_FILE, help="File of users. Default: page-users.yaml in DIR, if it is there."
)
@click.option("--add-user", metavar="NAME", help="Ask for a password, add a user, and exit.")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "admin"]),
    help="Of that user: looks; also acknowledges, marks, pauses; also sets thresholds and rules.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Answer to this name too, such as that of a proxy; repeats.",
)
@click.option("--with-stdin", is_flag=True, hidden=True, help="End with the standard input.")
@click.option("--lang", metavar="en|de", help="Language. Default: the browser's.")
@shared
def command(*, folder: Path, listen: str, as_json: bool, **options: Any) -> None:
    """Serve the page of the line in an output folder, to browsers.

    It runs beside the line, and goes on when the line stops. It ends with Ctrl-C. On this computer
    it needs no login, unless there are users.
    """
    from edge_ad.page.server import open_listener, serve
    from edge_ad.store.reading import open_reading

    with open_reading(folder):  # a folder without a store is refused here
        pass
    if options["add_user"] or options["role"]:
        _add_user(folder, options, as_json=as_json)
        return
    _check_language(options["lang"])
    host, port = listen_address(listen)
    tls = _tls(options["cert"], options["key"])
    users = _users(folder, options["users"])
    _refuse_open(host, listen, folder, tls, users)
    if users is None and options["allowed_hosts"]:
        _log.warning(
            "the page has no users: whoever reaches it through a proxy is an admin. Add one: "
            "edge-ad page %s --add-user NAME --role admin",
            folder,
        )
    with open_listener(host, port) as listener:
        port = listener.getsockname()[1]
        settings = _settings(folder, host, port, users, options, tls=tls is not None)
        shown = f"[{host}]" if ":" in host else host
        url = f"http{'s' if tls else ''}://{shown}:{port}/"
        with_stdin = options["with_stdin"]
        started = partial(_started, folder, url, as_json=as_json, with_stdin=with_stdin)
        if serve(settings, listener, started, tls, with_stdin=with_stdin):
            raise KeyboardInterrupt


def _started(folder: Path, url: str, *, as_json: bool, with_stdin: bool) -> None:
    if as_json:
        emit({"type": "page", "url": url, "folder": str(folder)})
    else:
        end = "" if with_stdin else " (Ctrl-C ends it)"
        click.echo(f"The page of {folder} is at {url}{end}")


def _settings(
    folder: Path,
    host: str,
    port: int,
    users: UserFile | None,
    options: dict[str, Any],
    *,
    tls: bool,
) -> PageSettings:
    import socket

    from edge_ad.machine.user import user_name
    from edge_ad.page.application import PageSettings
    from edge_ad.page.guard import AllowedHosts
    from edge_ad.page.person import Person, Role

    names = {host.lower(), *(name.lower() for name in options["allowed_hosts"])}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return PageSettings(
        folder,
        AllowedHosts(frozenset(names), loopback=is_loopback(host)),
        Person(user_name(), Role.ADMIN),
        options["lang"] or "",
        users,
        # browsers send the cookies of a host to all its ports: another line has another name
        f"{'__Host-' if tls else ''}edge-ad-{port}",
        options["cert"],
    )


def _check_language(language: str | None) -> None:
    from edge_ad.page.texts import languages, text_problems

    if language is not None and language not in (known := languages()):
        problems = "".join(f" {text.rstrip('.')}." for text in text_problems())
        raise UsageError(
            f"--lang {language}: no such language. Expected one of: {', '.join(known)}.{problems}"
        )


def _refuse_open(
    host: str, listen: str, folder: Path, tls: ssl.SSLContext | None, users: UserFile | None
) -> None:
    """Raise UsageError when other computers would reach a page without TLS or without users."""

    if is_loopback(host) or (tls is not None and users is not None):
        return
    missing = []
    if tls is None:
        missing.append("a certificate: --cert FILE --key FILE")
    if users is None:
        missing.append(f"a user: edge-ad page {folder} --add-user NAME --role admin")
    raise UsageError(
        f"--listen {listen}: other computers could reach the page, which needs TLS and a login. "
        f"Missing: {'; '.join(missing)}. Or listen at 127.0.0.1, behind a proxy or an SSH tunnel."
    )


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    from edge_ad.page.server import server_tls

    if cert is None:
        if key is not None:
            raise UsageError("--key belongs to a certificate. Give --cert too.")
        return None
    return server_tls(cert, key)


def _users(folder: Path, path: Path | None) -> UserFile | None:
    from edge_ad.page.users import USERS_FILE, UserFile

    if path is None and not (folder / USERS_FILE).exists():
        return None
    return UserFile(path or folder / USERS_FILE)


def _add_user(folder: Path, options: dict[str, Any], *, as_json: bool) -> None:
    from edge_ad.page.users import ROLES, USERS_FILE, add_user

    name, role = options["add_user"], options["role"]
    if not name or not role:
        raise UsageError("--add-user NAME and --role belong together. Give both.")
    path = options["users"] or folder / USERS_FILE
    add_user(path, name, ROLES[role], _password())
    if as_json:
        emit({"type": "page_user", "name": name, "role": role, "file": str(path)})
    else:
        click.echo(f"{name} may log in as {role}; {path} has a hash of the password.")


def _password() -> str:
    """Ask for a password at the terminal, or read one line of standard input."""
    if sys.stdin.isatty():
        text: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return text
    return sys.stdin.readline().rstrip("\r\n")
