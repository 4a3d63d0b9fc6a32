"""`edge-ad outbox`: what waits for the outlets of a line, and what they refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.errors import UsageError
from edge_ad.machine.user import user_name
from edge_ad.wording import counted

if TYPE_CHECKING:
    from edge_ad.store.reading import Record


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--outlet", "outlets", multiple=True, metavar="NAME", help="This outlet only; repeats."
)
@click.option("--dead", is_flag=True, help="List the dead letters, with the reasons.")
@click.option("--retry", is_flag=True, help="Deliver dead letters again.")
@click.option("--drop", is_flag=True, help="Forget dead letters.")
@click.option("--waiting", is_flag=True, help="With --drop: forget what waits as well.")
@click.option("--who", metavar="NAME", help="Who does it [default: the user].")
@shared
def command(*, folder: Path, as_json: bool, **options: Any) -> None:
    """Show what waits in the output folder of a line to be delivered to its outlets.

    NAME is an outlet as the list shows it. A line may run meanwhile.
    """
    from edge_ad.store.outbox import check_known, read_outbox

    _check(options)
    states = read_outbox(folder)
    chosen = list(options["outlets"]) or [state["outlet"] for state in states]
    if options["retry"] or options["drop"]:
        return _change(folder, chosen, options, as_json=as_json)
    check_known(folder, chosen)
    if options["dead"]:
        return _list_dead(folder, chosen, as_json=as_json)
    for state in states:
        if state["outlet"] in chosen:
            emit({"type": "outbox", **state}) if as_json else click.echo(format_state(state))
    if not states and not as_json:
        click.echo(f"no line in {folder} has had an outlet that waits")


def _check(options: dict[str, Any]) -> None:
    given = [name for name in ("dead", "retry", "drop") if options[name]]
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} exclude each other. Give one.")
    if options["waiting"] and not options["drop"]:
        raise UsageError("--waiting has no effect without --drop.")
    if options["who"] and not (options["retry"] or options["drop"]):
        raise UsageError("--who has no effect without --retry or --drop.")


def _change(folder: Path, chosen: list[str], options: dict[str, Any], *, as_json: bool) -> None:
    from edge_ad.store.outbox import drop, retry

    who = options["who"] or user_name()
    if options["retry"]:
        done, count = "retry", retry(folder, chosen, who)
    else:
        done, count = "drop", drop(folder, chosen, who, waiting_too=options["waiting"])
    if as_json:
        return emit({"type": "outbox_change", "done": done, "outlets": chosen, "count": count})
    words = "wait to be delivered again" if done == "retry" else "forgotten"
    click.echo(f"{counted(count, 'event')} {words}")


def _list_dead(folder: Path, chosen: list[str], *, as_json: bool) -> None:
    from edge_ad.cli.events import format_event
    from edge_ad.files import printable
    from edge_ad.store.outbox import read_dead_letters

    for letter in read_dead_letters(folder, chosen):
        if as_json:
            emit({"type": "dead_letter", **letter})
        else:
            words = f"{letter['outlet']}  refused {letter['attempts']} times: {letter['refused']}"
            click.echo(f"{format_event(letter['event'])}\n        {printable(words)}")


def format_state(state: Record) -> str:
    """Return the state of an outlet in two or three lines."""
    from edge_ad.clock import local_text
    from edge_ad.files import printable

    since = f", the oldest since {local_text(state['oldest_utc'])}" if state["oldest_utc"] else ""
    lines = [
        state["outlet"] + ("" if state["active"] else "  (not in the newest line)"),
        f"    {state['waiting']} waiting{since}; {state['dead']} dead letters; "
        f"{state['delivered']} delivered",
    ]
    if state["error"]:
        error = printable(state["error"])
        lines.append(f"    last error, {local_text(state['error_utc'])}: {error}")
    return "\n".join(lines)
