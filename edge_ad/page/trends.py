"""How a camera went over time, beside another span if one asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from edge_ad.clock import as_utc, now_utc
from edge_ad.page.chart import Chart, Mark, Series, draw_chart
from edge_ad.page.events import title
from edge_ad.page.numbers import grouped, localised, percent
from edge_ad.page.texts import Texts
from edge_ad.page.threshold import about_camera
from edge_ad.page.view import Answer, Html, PageRequest
from edge_ad.setting import value_text
from edge_ad.store.cameras import known_cameras
from edge_ad.store.reading import Record
from edge_ad.store.trends import Trend, TrendPoint, read_trend, step_for

SPANS = {"1h": 60, "8h": 480, "24h": 1440, "7d": 7 * 1440, "30d": 30 * 1440}  # minutes
COMPARED = ("", "before", "day", "week")
_MARKED = ("drift", "setting", "engine", "bundle", "line", "alarm")
Value = Callable[[TrendPoint], float | None]


@dataclass(frozen=True)
class _Quantity:
    """One chart: its lines by class and value, and how its numbers are written."""

    name: str
    lines: Sequence[tuple[str, Value]]
    label: Callable[[Texts, float], str]
    bars: bool = False
    from_zero: bool = True


def _plain(texts: Texts, value: float) -> str:
    return localised(texts, value, 3)


def _ms(texts: Texts, value: float) -> str:
    value, unit = (value / 1000, "s") if abs(value) >= 1000 else (value, "ms")
    return f"{localised(texts, value, 3)} {unit}"


_QUANTITIES = (
    _Quantity("share", [("main", lambda point: point.share)], percent),
    _Quantity(
        "scores",
        [
            ("main", lambda point: point.scores[0] if point.scores else None),
            ("second", lambda point: point.scores[1] if point.scores else None),
            ("third", lambda point: point.scores[2] if point.scores else None),
        ],
        _plain,
    ),
    _Quantity("judged", [("main", lambda point: float(point.judged))], _plain, bars=True),
    _Quantity(
        "lost", [("main", lambda point: float(point.dropped + point.invalid))], _plain, bars=True
    ),
    _Quantity(
        "latency",
        [("main", lambda point: point.p50_ms), ("third", lambda point: point.p99_ms)],
        _ms,
    ),
    _Quantity("brightness", [("main", lambda point: point.brightness)], _plain, from_zero=False),
    _Quantity("sharpness", [("main", lambda point: point.sharpness)], _plain, from_zero=False),
)


def trends(request: PageRequest) -> Answer:
    """Show a span of a camera, or of all, in charts and as numbers."""
    cameras, texts = known_cameras(request.folder), request.texts
    camera = request.camera(cameras, cameras[0] if len(cameras) == 1 else "")
    span = request.choice("span", tuple(SPANS), "8h")
    compared = request.choice("compare", COMPARED, "")
    trend, other = _read_both(request, camera, SPANS[span], compared)
    level = about_camera(request, camera).present if camera else None
    charts = ((one.name, _chart(texts, one, trend, other, level)) for one in _QUANTITIES)
    return Html(
        "trends.html",
        {
            "cameras": cameras,
            "camera": camera,
            "spans": tuple(SPANS),
            "span": span,
            "compares": COMPARED,
            "compare": compared,
            "to": request.one("to"),
            "trend": trend,
            "other": other,
            "charts": [(name, chart) for name, chart in charts if not chart.is_empty],
            "summary": _summary(texts, trend, other),
            "events": [event_line(texts, event) for event in trend.events][::-1],
            "rows": [_numbers(texts, point) for point in trend.points],
        },
    )


def _read_both(
    request: PageRequest, camera: str, minutes: int, compared: str
) -> tuple[Trend, Trend | None]:
    """Return the span that ends at the time asked for, and the one it is compared with."""

    def read(until: str) -> Trend:
        since = _before(until, minutes)
        return read_trend(request.folder, camera, since, until, step_for(minutes))

    until = request.time("to") or _next_minute(now_utc())
    back = {"before": minutes, "day": 1440, "week": 7 * 1440}
    return read(until), read(_before(until, back[compared])) if compared else None


def _before(time_utc: str, minutes: int) -> str:
    return as_utc(datetime.fromisoformat(time_utc) - timedelta(minutes=minutes))


def _chart(
    texts: Texts,
    quantity: _Quantity,
    trend: Trend,
    other: Trend | None,
    threshold: float | None,
) -> Chart:
    span = (_minute(trend.since), _minute(trend.until))
    series = [
        Series(kind, _values(trend, value), trend.step_minutes, quantity.bars)
        for kind, value in quantity.lines
    ]
    if other is not None:
        _, value = quantity.lines[-1]
        values = _values(other, value, shift=span[0] - _minute(other.since))
        series.insert(0, Series("other", values, other.step_minutes))
    return draw_chart(
        series,
        span,
        partial(quantity.label, texts),
        marks=[_mark(texts, event) for event in trend.events if event["type"] in _MARKED],
        from_zero=quantity.from_zero,
        level=threshold if quantity.name == "scores" else None,
    )


def _values(trend: Trend, value: Value, shift: float = 0.0) -> list[tuple[float, float | None]]:
    return [(_minute(point.start) + shift, value(point)) for point in trend.points]


def _mark(texts: Texts, event: Record) -> Mark:
    return Mark(_minute(event["time_utc"]), event["type"], event_line(texts, event)["text"])


def event_line(texts: Texts, event: Record) -> dict[str, Any]:
    """Return an event as one line: when, what and why."""
    words = [title(texts, event), event["camera"], event.get("reason")]
    if event["type"] == "setting":
        words.insert(1, f"{value_text(event['old'])} \u2192 {value_text(event['new'])}")
    return {
        "seq": event["seq"],
        "time": event["time_utc"],
        "type": event["type"],
        "text": ", ".join(str(word) for word in words if word),
    }


def _summary(texts: Texts, trend: Trend, other: Trend | None) -> list[list[str]]:
    """Return the rows of the table of totals: a name, the span's value, and the other's."""
    spans = [trend.total] + ([other.total] if other else [])
    rows = [
        ("parts", [grouped(texts, point.judged) for point in spans]),
        ("rejected", [grouped(texts, point.rejected) for point in spans]),
        ("trends_share", [percent(texts, point.share) for point in spans]),
        ("invalid", [grouped(texts, point.invalid) for point in spans]),
        ("dropped", [grouped(texts, point.dropped) for point in spans]),
        ("trends_slowest", ["-" if p.p99_ms is None else _ms(texts, p.p99_ms) for p in spans]),
    ]
    return [[texts(name), *values] for name, values in rows]


def _numbers(texts: Texts, point: TrendPoint) -> dict[str, Any]:
    """Return a row of the table of all points."""
    values = [*(point.scores or (None, None, None)), point.p50_ms, point.p99_ms]
    values += [point.brightness, point.sharpness]
    return {
        "start": point.start,
        "counts": [point.judged, point.rejected, point.invalid, point.dropped],
        "share": percent(texts, point.share),
        "values": ["-" if value is None else _plain(texts, value) for value in values],
    }


def _minute(time_utc: str) -> float:
    return datetime.fromisoformat(time_utc).timestamp() / 60


def _next_minute(time_utc: str) -> str:
    """Return the end of a minute, so that the last whole one is in the span."""
    return as_utc(datetime.fromisoformat(f"{time_utc[:16]}+00:00") + timedelta(minutes=1))
