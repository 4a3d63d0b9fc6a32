"""Times of day: of records (ISO 8601 in UTC), on the clock on the wall, and as users type them."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

from edge_ad.errors import UsageError

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def now_utc(timespec: str = "milliseconds") -> str:
    """Return the time for records (for files, to the "seconds"): ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec=timespec)


def as_utc(moment: datetime) -> str:
    """Return a time with a zone as text in UTC; such texts sort in the order of their times."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


def as_local(time_utc: str) -> datetime:
    """Return a record's time as the clock on the wall shows it, in the computer's present zone."""
    time.tzset()  # else a process stays in the zone that it began in
    return datetime.fromisoformat(re.sub(r"Z$", "+00:00", time_utc)).astimezone()


def local_text(time_utc: str, *, zone: bool = True) -> str:
    """Return a record's time as the clock on the wall shows it, to the second."""
    moment = as_local(time_utc)
    return (moment if zone else moment.replace(tzinfo=None)).isoformat(sep=" ", timespec="seconds")


def parse_time(text: str) -> str:
    """Return the time that a user names as `8h` (ago) or in ISO 8601, as text in UTC.

    A time without a zone is local. Raises UsageError.
    """
    if ago := _AGO.fullmatch(text):
        try:
            span = timedelta(**{_UNITS[ago[2]]: float(ago[1])})
            return as_utc(datetime.now(timezone.utc) - span)
        except OverflowError:
            raise UsageError(f"'{text}' lies before the year 1.") from None
    try:
        return as_utc(datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text)))
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text}' is not a time. Expected an age (30m, 8h, 2d) or ISO 8601 "
            "(2026-11-28, 2026-11-28T06:00, 2026-11-28T06:00Z)."
        ) from None
