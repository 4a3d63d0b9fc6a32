"""Marked parts as a labelled data set: what it would hold, and the archive."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import datetime

from edge_ad.errors import UsageError
from edge_ad.page.events import Search, read_search
from edge_ad.page.view import Answer, Html, NotThere, PageRequest, Stream
from edge_ad.store.labelled import LabelledSelection, NormalFolder, select_labelled, write_zip
from edge_ad.store.reading import Record
from edge_ad.store.search import EventSearch, find_by_numbers, find_events

MOST = 5_000  # events of one data set
_AT_ONCE = 500
_PARTS = ("reject", "defect")
_MARKED = ("false-alarm", "real")
_CHOSEN = re.compile(r"\d{1,18}(,\d{1,18}){0,199}", re.ASCII)
_FOLDERS: tuple[NormalFolder, ...] = ("test", "train")


def dataset(request: PageRequest) -> Answer:
    """Show what the data set of the events that match would hold, and what is left out why."""
    asked, selection, complete = _select(request)
    reasons = Counter(reason for _, reason in selection.left_out)
    links = {
        place: asked.address(
            "/dataset.zip", normal="" if place == "test" else place, seq=request.one("seq")
        )
        for place in _FOLDERS
    }
    return Html(
        "dataset.html",
        {
            "selection": selection,
            "reasons": reasons.most_common(),
            "links": links,
            "list": asked.address("/events"),
            "limit": "" if complete else request.texts("dataset_limit", most=MOST),
        },
    )


def dataset_zip(request: PageRequest) -> Answer:
    """Return the data set as an archive. Raises NotThere when it would be empty."""
    _, selection, _ = _select(request)
    if not selection.images:
        raise NotThere(request.texts("dataset_empty"))
    line = request.folder.resolve().name
    name = f"{line}-{datetime.now().astimezone():%Y-%m-%d}-marked.zip"
    return Stream(write_zip(selection), "application/zip", name)


def _select(request: PageRequest) -> tuple[Search, LabelledSelection, bool]:
    """Return the search, the selection of its marked events, and whether that is all of them."""
    asked = read_search(request)
    normal = request.choice("normal", _FOLDERS, "test")
    place: NormalFolder = "train" if normal == "train" else "test"
    events, complete = _marked_events(request, asked)
    return asked, select_labelled(request.folder, events, place), complete


def _marked_events(request: PageRequest, asked: Search) -> tuple[list[Record], bool]:
    """Return the marked parts and alarms that match, or what was chosen, oldest first."""
    if numbers := _numbers(request):
        return find_by_numbers(request.folder, numbers), True
    chosen = asked.search.chosen
    types = tuple(kind for kind in _PARTS if not chosen.types or kind in chosen.types)
    noted = (asked.search.noted,) if asked.search.noted in _MARKED else _MARKED
    events, complete = list[Record](), True
    for mark in noted if types else ():
        search = replace(asked.search, chosen=replace(chosen, types=types), noted=mark)
        found, all_of_them = _read_all(request, search)
        events += found
        complete = complete and all_of_them
    return sorted(events, key=lambda event: int(event["seq"])), complete


def _numbers(request: PageRequest) -> list[int]:
    """Return the events that were chosen one by one: `seq` has their numbers between commas."""
    text = request.one("seq")
    if text and not _CHOSEN.fullmatch(text):
        raise UsageError(f"seq: expected numbers between commas, got '{text[:40]}'.")
    return [int(number) for number in text.split(",")] if text else []


def _read_all(request: PageRequest, search: EventSearch) -> tuple[list[Record], bool]:
    events: list[Record] = []
    before = None
    while len(events) < MOST:
        page = find_events(request.folder, search, before=before, limit=_AT_ONCE)
        events += page.events
        if not page.older:
            return events, True
        before = events[-1]["seq"]
    return events[:MOST], False
