"""`edge-ad events`: what happened on a line, and what people say about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.errors import UsageError
from edge_ad.machine.user import user_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from edge_ad.store.reading import EventFilter, Record

_TYPES = (  # as in `EventType`, whose module takes 0.2 s to import
    *("reject", "missed_trigger", "alarm", "line", "engine", "drift", "lost", "clock"),
    *("retention", "outlet_fault", "outbox", "bundle", "page", "ack", "mark", "setting"),
    "control",
)
_OF_JSON = ("regions", "old", "new")  # in a table, too
_KINDS = ("defect", "camera_fault", "reject_rate")
_TIME = "an age (30m, 8h, 2d) or a time (2026-11-28T06:00)"


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--camera", "cameras", multiple=True, metavar="NAME", help="Of this camera; repeats.")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice([*_TYPES, *_KINDS]),
    help="Of this type, or alarms of this kind; repeats.",
)
@click.option("--since", metavar="TIME", help=f"Not before {_TIME}.")
@click.option("--until", metavar="TIME", help="Before such a time.")
@click.option("--limit", type=click.IntRange(0), help="The newest ones only.")
@click.option("--follow", is_flag=True, help="Go on with new events, until Ctrl-C.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table with commas.")
@click.option("--ack", multiple=True, metavar="ID", help="Acknowledge an event or alarm; repeats.")
@click.option(
    "--mark", multiple=True, metavar="ID", help="Mark an event or alarm, see --as; repeats."
)
@click.option("--as", "mark_as", type=click.Choice(["false-alarm", "real"]), help="What it was.")
@click.option("--who", metavar="NAME", help="Who acknowledges or marks [default: the user].")
@click.option("--note", default="", help="A remark on it.")
@shared
def command(*, folder: Path, as_json: bool, **options: Any) -> None:
    """List the events in the output folder of a line, acknowledge them or mark them.

    ID is an event's number, its id or an alarm's id. A line may run meanwhile.
    """
    if options["ack"] or options["mark"]:
        _note(folder, as_json=as_json, **options)
        return
    _refuse_alone(options, "mark_as", "who", "note", needed="--ack or --mark")
    if options["as_csv"] and as_json:
        raise UsageError("--csv and --json exclude each other. Give one.")
    _list(folder, _filter(options), as_json=as_json, **options)


def _filter(options: dict[str, Any]) -> EventFilter:
    from edge_ad.clock import parse_time
    from edge_ad.store.reading import EventFilter

    since, until = (parse_time(options[key]) if options[key] else "" for key in ("since", "until"))
    if since and until and since >= until:
        raise UsageError(f"--since {since} does not lie before --until {until}.")
    return EventFilter(options["cameras"], options["types"], since, until, options["limit"])


def _list(
    folder: Path, chosen: EventFilter, *, as_json: bool, as_csv: bool, follow: bool, **_: Any
) -> None:
    from edge_ad.store.reading import follow_events, read_events

    _check_cameras(folder, chosen.cameras, follow=follow)
    events = follow_events(folder, chosen) if follow else read_events(folder, chosen)
    if as_csv:
        _print_csv(events)
        return
    some = False
    for event in events:
        some = True
        emit(event) if as_json else click.echo(format_event(event))
    if not some and not as_json:
        click.echo("no such events", err=True)


def _check_cameras(folder: Path, names: Collection[str], *, follow: bool) -> None:
    """Raise UsageError for a camera that no record is of; one that is followed may be to come."""
    from edge_ad.files import readable
    from edge_ad.store.cameras import known_cameras

    known = known_cameras(folder) if names else []
    for name in names:
        if name in known:
            continue
        there = ", ".join(known) or "none yet"
        text = readable(f"{folder} has no record of a camera '{name}'. Cameras: {there}.")
        if not follow:
            raise UsageError(text)
        click.echo(f"edge-ad: {text} Waiting for it.", err=True)


def _print_csv(events: Iterable[Record]) -> None:
    import csv
    import io
    import json

    from edge_ad.store.reading import COLUMNS

    buffer = io.StringIO()
    table = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    table.writeheader()
    click.echo(buffer.getvalue(), nl=False)
    for event in events:
        buffer.seek(0)
        buffer.truncate()
        texts = {name: _cell(value) for name, value in event.items() if isinstance(value, str)}
        values = {name: json.dumps(event[name]) for name in _OF_JSON if name in event}
        table.writerow(event | texts | values)
        click.echo(buffer.getvalue(), nl=False)


def _cell(text: str) -> str:
    """Return text that a spreadsheet does not run as a formula: file names and notes come in."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _note(folder: Path, *, as_json: bool, **options: Any) -> None:
    from edge_ad.store.notes import acknowledge, mark

    _refuse_alone(
        options, "cameras", "types", "since", "until", "limit", "follow", "as_csv", needed="a list"
    )
    if options["ack"] and options["mark"]:
        raise UsageError("--ack and --mark exclude each other. Give one.")
    if bool(options["mark"]) != bool(options["mark_as"]):
        raise UsageError("--mark ID needs --as false-alarm or --as real, and --as needs --mark.")
    who = options["who"] or user_name()
    if options["mark"]:
        ids, done = options["mark"], f"marked as {options['mark_as']}"
        notes = mark(folder, ids, options["mark_as"], who, options["note"])
    else:
        ids, done = options["ack"], "acknowledged"
        notes = acknowledge(folder, ids, who, options["note"])
    if as_json:
        emit({"type": "notes", "ids": list(ids), "seq": notes, "who": who, "done": done})
    else:
        click.echo(f"{', '.join(ids)}: {done} by {who}")


def _refuse_alone(options: dict[str, Any], *names: str, needed: str) -> None:
    flags = {"mark_as": "--as", "as_csv": "--csv", "cameras": "--camera", "types": "--type"}
    for name in names:
        if options[name] not in (None, False, "", ()):
            raise UsageError(f"{flags.get(name, '--' + name)} has no effect without {needed}.")


def format_event(event: Record) -> str:
    """Return an event as one line, with the time of day here."""
    from edge_ad.clock import local_text
    from edge_ad.files import printable

    head = f"{event['seq']:6d}  {local_text(event['time_utc'])}"
    words = _setting_words(event) if event["type"] == "setting" else _what(event)
    if event.get("refers") is not None:
        words.append(f"of {event['refers']} by {event.get('who')}")
    words.append(event.get("reason"))
    if event.get("marked"):
        words.append(f"[{event['marked']}]")
    elif event.get("acknowledged"):
        words.append("[acknowledged]")
    place = event["camera"] or "-"
    return printable(f"{head}  {place}  {'  '.join(word for word in words if word)}")


def _what(event: Record) -> list[str | None]:
    words = [event["type"], event.get("kind"), event.get("step"), event.get("alarm")]
    if event["type"] in ("outlet_fault", "outbox"):
        words.append(event["source"])
    if event.get("part") is not None:
        words += [f"part {event['part']}", event.get("file")]
    if event.get("score") is not None:
        words.append(f"score {event['score']:.4g} / {event['threshold']:.4g}")
    if event.get("count") is not None:
        words.append(f"count {event['count']}")
    if event["type"] == "control":
        words.append(f"by {event['who']}")
    return words


def _setting_words(event: Record) -> list[str | None]:
    from edge_ad.setting import values_text

    values = values_text(event["kind"], event["old"], event["new"])
    step = "" if event["step"] == "set" else f"({event['step']})"
    return ["setting", values, step, f"by {event['who']}"]
