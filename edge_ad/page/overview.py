"""The first view: every camera, what it did in the last hour, and what stands open."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from edge_ad.clock import as_utc
from edge_ad.page.view import Answer, Html, PageRequest
from edge_ad.store.shift import summarise_shift


def overview(request: PageRequest) -> Answer:
    """Show the cameras with the counts of the last hour, and the alarms that are open."""
    now = datetime.now(timezone.utc)
    shift = summarise_shift(request.folder, as_utc(now - timedelta(hours=1)), as_utc(now))
    alarms = [alarm for alarm in shift.alarms if alarm["open"]]
    return Html("overview.html", {"cameras": sorted(shift.cameras.items()), "alarms": alarms})
