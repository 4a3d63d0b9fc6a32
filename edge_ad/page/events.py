"""The events: a list that can be searched, one event with its images, and what people say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from edge_ad.clock import parse_time
from edge_ad.errors import UsageError
from edge_ad.page.numbers import localised
from edge_ad.page.texts import Texts
from edge_ad.page.view import Answer, Html, Json, NotThere, PageRequest
from edge_ad.store.cameras import known_cameras
from edge_ad.store.labelled import inside, shown_part
from edge_ad.store.notes import MARKS, acknowledge, mark
from edge_ad.store.reading import EventFilter, Record
from edge_ad.store.search import (
    COUNTED,
    NOTES,
    EventSearch,
    EventView,
    find_event,
    find_events,
)

WHATS = {  # what a person looks for, and the types or kinds of events that are it
    "important": (
        *("reject", "defect", "camera_fault", "reject_rate", "missed_trigger", "drift"),
        *("engine", "lost"),
    ),
    "parts": ("reject", "defect"),
    "reject": ("reject",),
    "defect": ("defect",),
    "camera_fault": ("camera_fault", "missed_trigger"),
    "reject_rate": ("reject_rate",),
    "drift": ("drift",),
    "outlets": ("outlet_fault", "outbox"),
    "line": ("line", "engine", "bundle", "lost", "clock", "retention", "page"),
    "all": (),
}
AGES = ("1h", "8h", "24h", "7d", "30d", "all")
_LARGEST_PX = 1 << 40
_NEWEST = 1 << 60
_SEQ = re.compile(r"e(\d{1,18})")


@dataclass(frozen=True)
class Search:
    """What was asked of the list: the search itself, and its fields as the address has them."""

    search: EventSearch
    fields: dict[str, str]

    def address(self, path: str, **more: object) -> str:
        """Return an address that keeps the search."""
        values = {name: value for name, value in (self.fields | more).items() if value}
        return f"{path}?{urlencode(values)}" if values else path


def read_search(request: PageRequest) -> Search:
    """Return the search in an address. Raises UsageError for what is unfit."""
    fields = {
        "what": request.choice("what", tuple(WHATS), "important"),
        "camera": request.one("camera"),
        "age": request.choice("age", AGES, "all"),
        "from": request.one("from"),
        "to": request.one("to"),
        "noted": request.choice("noted", ("", *NOTES), ""),
        "size": str(request.count("size", 0, at_most=_LARGEST_PX) or ""),
        "part": str(request.count("part", 0, at_most=_NEWEST) or ""),
    }
    since = request.time("from") or ("" if fields["age"] == "all" else parse_time(fields["age"]))
    chosen = EventFilter(
        cameras=(fields["camera"],) if fields["camera"] else (),
        types=WHATS[fields["what"]],
        since=since,
        until=request.time("to"),
    )
    part = int(fields["part"]) if fields["part"] else None
    search = EventSearch(chosen, fields["noted"], int(fields["size"] or 0), part)
    usual = {"what": "important", "age": "all"}
    kept = {name: value for name, value in fields.items() if value and usual.get(name) != value}
    return Search(search, kept)


def events(request: PageRequest) -> Answer:
    """Show a page of the events that match, newest first."""
    asked = read_search(request)
    before = request.count("before", 0, at_most=_NEWEST) or None
    after = request.count("after", 0, at_most=_NEWEST) or None
    page = find_events(request.folder, asked.search, before=before, after=after)
    rows = [row(request, event) for event in page.events]
    ends = [event["seq"] for event in (page.events[:1] + page.events[-1:])]
    return Html(
        "events.html",
        {
            "rows": rows,
            "fields": asked.fields,
            "cameras": known_cameras(request.folder),
            "whats": tuple(WHATS),
            "ages": AGES,
            "notes": NOTES,
            "count": request.texts("events_many", count=COUNTED)
            if page.count >= COUNTED
            else request.texts("events_count", count=page.count),
            "newer": asked.address("/events", after=ends[0]) if page.newer and ends else "",
            "older": asked.address("/events", before=ends[1]) if page.older and ends else "",
            "first": asked.address("/events") if page.newer else "",
            "link": lambda seq: asked.address(f"/events/{seq}"),
            "dataset": asked.address("/dataset"),
        },
    )


def one_event(request: PageRequest) -> Answer:
    """Show one event: its images, facts, notes and neighbours."""
    asked = read_search(request)
    view = find_event(request.folder, int(request.path["seq"]), asked.search)
    if view is None:
        raise NotThere(request.texts("event_gone"))
    event = view.event
    return Html(
        "event.html",
        {
            "row": row(request, event),
            "event": event,
            "steps": view.steps,
            "notes": view.notes,
            "is_open": view.is_open,
            "images": _images(request, event),
            "number": partial(localised, request.texts),
            "regions": event.get("regions", [])[:8],
            "list": asked.address("/events"),
            **_neighbours(asked, view, going_on=bool(request.one("go_on"))),
        },
    )


def _neighbours(asked: Search, view: EventView, *, going_on: bool) -> dict[str, object]:
    """Return the addresses beside an event. `going_on`, a person comes to the next by judging."""
    go_on = "1" if going_on else ""
    earlier, later = (
        asked.address(f"/events/{event['seq']}", go_on=go_on) if event else ""
        for event in (view.earlier, view.later)
    )
    return {
        "earlier": earlier,
        "later": later,
        "then": earlier if going_on else "",
        "going_on": going_on,
        "toggle": asked.address(f"/events/{view.event['seq']}", go_on="" if going_on else "1"),
    }


def note_events(request: PageRequest) -> Answer:
    """Acknowledge or mark events, all of them or none: the body has `e123` for each, or `seq`."""
    numbers = [match[1] for name in request.body if (match := _SEQ.fullmatch(name))]
    if not numbers:
        raise UsageError(request.texts("events_none_chosen"))
    do, note, who = request.field("do"), request.field("note", "")[:500], request.person.name
    if do == "ack":
        acknowledge(request.folder, numbers, who, note)
    elif do in MARKS:
        mark(request.folder, numbers, do, who, note)
    else:
        raise UsageError(f"do: expected ack, {' or '.join(MARKS)}, got '{do[:40]}'.")
    return Json({"done": do, "events": len(numbers)})


def row(request: PageRequest, event: Record) -> dict[str, Any]:
    """Return what a list shows of an event, in the words of the person."""
    texts = request.texts
    regions = event.get("regions", [])
    return {
        "seq": event["seq"],
        "time": event["time_utc"],
        "camera": event["camera"] or "",
        "kind": event.get("kind") or event["type"],
        "title": title(texts, event),
        "detail": event.get("reason") or event.get("file") or "",
        "part": shown_part(event),
        "times": times(texts, event),
        "strength": _strength(event),
        "area": max((region["area_px"] for region in regions), default=None),
        "marked": event.get("marked"),
        "acknowledged": event.get("acknowledged"),
        "has_image": _has_evidence(request, event),
        "can_note": event["type"] not in ("ack", "mark"),
    }


def title(texts: Texts, event: Record) -> str:
    """Return what an event is."""
    if event["type"] == "alarm":
        return texts.word("kind", event["kind"])
    step = f"_{event['step']}" if event.get("step") in ("start", "stop", "end") else ""
    name = texts.word("type", event["type"] + step)
    if event["type"] in ("drift", "setting"):
        return f"{name}: {texts.word('quantity', event['kind'])}"
    return name


def times(texts: Texts, event: Record) -> str:
    """Return a score as a multiple of its threshold, empty where there is none."""
    score, threshold = event.get("score"), event.get("threshold")
    if score is None or threshold is None:
        return ""
    if threshold <= 0:
        return texts("event_above", score=localised(texts, score), than=localised(texts, threshold))
    return texts("event_times", times=_ratio(texts, score / threshold))


def _ratio(texts: Texts, ratio: float) -> str:
    """Return a ratio to two digits, and near 1 to as many as tell it from 1."""
    least = 3 if ratio < 2 else 2
    texts_of = (localised(texts, ratio, digits) for digits in range(least, 7))
    return next((text for text in texts_of if text != "1"), "1")


def _strength(event: Record) -> float | None:
    """Return how far the score is on a scale where the threshold is 1, at most 3."""
    score, threshold = event.get("score"), event.get("threshold") or 0.0
    return None if score is None or threshold <= 0 else min(3.0, max(0.0, score / threshold))


def _has_evidence(request: PageRequest, event: Record) -> bool:
    return "evidence" in event and inside(request.folder, str(event["evidence"])) is not None


def _images(request: PageRequest, event: Record) -> list[tuple[str, str]]:
    """Return the images of an event: what each shows, and its panel."""
    if not _has_evidence(request, event):
        return []
    if event["type"] == "drift":
        return [("event_before_now", "whole")]
    return [("event_image", "left"), ("event_map", "right")]
