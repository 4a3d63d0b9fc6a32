"""`edge-ad page`: the operator's page of a line."""

from __future__ import annotations

from pathlib import Path

import click

from edge_ad.cli.options import emit, shared
from edge_ad.errors import UsageError


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where browsers find it; port 0 takes a free one.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Answer to this name too, such as that of a proxy; repeats.",
)
@click.option("--lang", type=click.Choice(["en", "de"]), help="Language. Default: the browser's.")
@shared
def command(
    *,
    folder: Path,
    listen: str,
    allowed_hosts: tuple[str, ...],
    lang: str | None,
    as_json: bool,
) -> None:
    """Serve the page of the line in an output folder, to browsers.

    It runs beside the line, and goes on when the line stops. It ends with Ctrl-C.
    """
    from edge_ad.cli.events import user_name
    from edge_ad.page.application import PageSettings
    from edge_ad.page.guard import AllowedHosts, is_loopback
    from edge_ad.page.server import open_listener, parse_listen, serve
    from edge_ad.page.view import Person, Role
    from edge_ad.store.reading import open_reading

    host, port = parse_listen(listen)
    if not is_loopback(host):
        raise UsageError(
            f"--listen {listen}: this version serves this computer only. "
            "Give a loopback address, such as 127.0.0.1:8080."
        )
    with open_reading(folder):  # a folder without a store is refused here
        pass
    names = frozenset(name.lower() for name in allowed_hosts)
    hosts = AllowedHosts(names, loopback=True)
    settings = PageSettings(folder, hosts, Person(user_name(), Role.ADMIN), lang or "")
    with open_listener(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}/"

        def started() -> None:
            if as_json:
                emit({"type": "page", "url": url, "folder": str(folder)})
            else:
                click.echo(f"The page of {folder} is at {url} (Ctrl-C ends it)")

        if serve(settings, listener, started):
            raise KeyboardInterrupt
