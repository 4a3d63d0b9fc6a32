"""The audit trail: who changed, marked, acknowledged or dropped something, when and why."""

from __future__ import annotations

from typing import Any

from edge_ad.clock import parse_time
from edge_ad.page.events import AGES, title
from edge_ad.page.texts import Texts
from edge_ad.page.view import Answer, Html, PageRequest
from edge_ad.setting import value_text
from edge_ad.store.reading import EventFilter, Record
from edge_ad.store.search import EventSearch, find_events

WHATS = {
    "all": ("setting", "mark", "ack", "outbox", "bundle", "control", "page"),
    "setting": ("setting",),
    "mark": ("mark", "ack"),
    "outbox": ("outbox",),
    "bundle": ("bundle",),
    "control": ("control", "page"),
}
_NEWEST = 1 << 60


def audit(request: PageRequest) -> Answer:
    """Show what people did, newest first."""
    what = request.choice("what", tuple(WHATS), "all")
    age = request.choice("age", AGES, "all")
    since = "" if age == "all" else parse_time(age)
    search = EventSearch(EventFilter(types=WHATS[what], since=since))
    before = request.count("before", 0, at_most=_NEWEST) or None
    page = find_events(request.folder, search, before=before)
    last = page.events[-1]["seq"] if page.events else 0
    return Html(
        "audit.html",
        {
            "rows": [_row(request.texts, event) for event in page.events],
            "what": what,
            "whats": tuple(WHATS),
            "age": age,
            "ages": AGES,
            "older": f"/audit?what={what}&age={age}&before={last}" if page.older else "",
        },
    )


def _row(texts: Texts, event: Record) -> dict[str, Any]:
    refers = event.get("refers")
    return {
        "time": event["time_utc"],
        "who": event.get("who", ""),
        "what": title(texts, event),
        "camera": event["camera"] or event.get("source", ""),
        "change": _change(texts, event),
        "reason": event.get("reason", ""),
        "seq": refers if refers is not None else event["seq"],
        "refused": event["type"] == "control" or event.get("step") == "refused",
    }


def _change(texts: Texts, event: Record) -> str:
    """Return what became of what."""
    if event["type"] == "setting":
        step = "" if event["step"] == "set" else f" ({texts('change_' + event['step'])})"
        return f"{value_text(event['old'])} \u2192 {value_text(event['new'])}{step}"
    if event["type"] == "mark":
        return texts(f"noted_{event['step']}")
    if event["type"] in ("outbox", "bundle", "page"):
        return texts.word("audit", event.get("step", ""))
    count = event.get("count")
    return "" if count is None else str(count)
