"""Write the report of a shift as one self-contained HTML page, without scripts."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from edge_ad.clock import local_text
from edge_ad.setting import values_text
from edge_ad.store.reading import Record
from edge_ad.store.shift import CameraShift, Shift

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:72em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:left;"
    "border-bottom:1px solid #ccc;vertical-align:top}td:first-child{white-space:nowrap}"
    "img{max-width:100%}figure{margin:2em 0}rect{fill:#b00020}"
)
_BAR_PX, _CHART_PX = 16, 100


def shift_page(shift: Shift, folder: Path, images: int) -> str:
    """Return the page, with up to `images` evidence images: of the newest alarms, then parts."""
    title = f"{folder.resolve().name}, {local_text(shift.since)} to {local_text(shift.until)}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        *_cameras(shift),
        *_chart(shift),
        *_alarms(shift),
        *_rejects(shift),
        *_images(shift, folder, images),
        *_notices(shift),
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _cameras(shift: Shift) -> Iterable[str]:
    yield "<h2>Parts</h2>"
    if not shift.cameras:
        yield "<p>No part was inspected, but for the last ten seconds.</p>"
        return
    head = ("camera", "judged", "rejected", "share", "invalid", "dropped", "slowest p99")
    yield _table(head, [_camera(name, counts) for name, counts in sorted(shift.cameras.items())])


def _camera(name: str, counts: CameraShift) -> list[str]:
    share = f"{counts.rejected / counts.judged:.2%}" if counts.judged else "-"
    p99 = f"{counts.p99_ms:.1f} ms" if counts.p99_ms is not None else "-"
    numbers = [counts.judged, counts.rejected, share, counts.invalid, counts.dropped, p99]
    return [name, *map(str, numbers)]


def _chart(shift: Shift) -> Iterable[str]:
    """Draw the share of rejected parts over time; the highest bar has the full height."""
    shares = {start: bad / judged for start, (judged, bad) in shift.bars.items() if judged}
    highest = max(shares.values(), default=0.0)
    if not highest:
        return
    first = min(shares)
    width = ((max(shares) - first) // shift.bar_minutes + 1) * _BAR_PX
    bars = []
    for start, share in sorted(shares.items()):
        height = round(share / highest * _CHART_PX, 1)
        x = (start - first) // shift.bar_minutes * _BAR_PX
        bars.append(
            f"<rect x={x} y={_CHART_PX - height} width={_BAR_PX - 2} height={height}>"
            f"<title>{_minute(start)}: {share:.2%} of {shift.bars[start][0]}</title></rect>"
        )
    yield f"<h2>Rejected parts, every {shift.bar_minutes} min; highest {highest:.2%}</h2>"
    yield f"<svg width={width} height={_CHART_PX}>{''.join(bars)}</svg>"
    yield f"<p>{_minute(first)} to {_minute(max(shares) + shift.bar_minutes)}</p>"


def _minute(number: int) -> str:
    """Return the beginning of a minute, counted from 1970, on the clock on the wall."""
    return local_text(datetime.fromtimestamp(number * 60, timezone.utc).isoformat())


def _alarms(shift: Shift) -> Iterable[str]:
    yield f"<h2>{_newest('Alarms', shift.alarm_count, len(shift.alarms))}</h2>"
    if shift.alarms:
        head = ("began", "ended", "camera", "kind", "part", "score / threshold", "noted", "alarm")
        yield _table(head, [_alarm(alarm) for alarm in shift.alarms])


def _alarm(alarm: Record) -> list[str]:
    ended = "open" if alarm["open"] else local_text(alarm["time_utc"])
    return [
        local_text(alarm["began_utc"]), ended, alarm["camera"] or "", alarm["kind"],
        str(alarm.get("part", "")), _score(alarm) or alarm.get("reason", ""),
        _notes(alarm), alarm["alarm"],
    ]  # fmt: skip


def _score(event: Record) -> str:
    return f"{event['score']:.4g} / {event['threshold']:.4g}" if "score" in event else ""


def _notes(event: Record) -> str:
    seen = event.get("acknowledged")
    return ", ".join(filter(None, [event.get("marked"), seen and f"seen by {seen}"]))


def _rejects(shift: Shift) -> Iterable[str]:
    yield f"<h2>{_newest('Rejected parts', shift.reject_count, len(shift.rejects))}</h2>"
    if shift.rejects:
        head = ("when", "camera", "part", "file", "score / threshold", "noted", "event")
        yield _table(head, [_reject(reject) for reject in shift.rejects])


def _reject(reject: Record) -> list[str]:
    return [
        local_text(reject["time_utc"]), reject["camera"] or "", str(reject.get("part", "")),
        reject.get("file", ""), _score(reject), _notes(reject), str(reject["seq"]),
    ]  # fmt: skip


def _images(shift: Shift, folder: Path, count: int) -> Iterable[str]:
    shown: set[str] = set()
    for event in [*shift.alarms, *shift.rejects]:
        name = str(event.get("evidence"))
        data = _evidence(folder, event) if len(shown) < count and name not in shown else b""
        if data:
            shown.add(name)
            about = f"alarm {event['alarm']}" if "alarm" in event else f"event {event['seq']}"
            when = local_text(event.get("began_utc", event["time_utc"]))
            caption = f"{event['camera']}, {about}, {when}"
            encoded = base64.b64encode(data).decode()
            yield (
                f"<figure><img src=data:image/jpeg;base64,{encoded}>"
                f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            )


def _evidence(folder: Path, event: Record) -> bytes:
    """Return the event's image, empty when there is none or it was deleted to make room."""
    if "evidence" not in event:
        return b""
    path = folder / str(event["evidence"])
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _notices(shift: Shift) -> Iterable[str]:
    if shift.notices:
        yield f"<h2>{_newest('The line itself', shift.notice_count, len(shift.notices))}</h2>"
        rows = [
            [local_text(event["time_utc"]), event["type"], event.get("step", ""),
             str(event.get("count", "")), ": ".join(filter(None, _words(event)))]
            for event in shift.notices
        ]  # fmt: skip
        yield _table(("when", "what", "", "events", "reason"), rows)


def _words(event: Record) -> Iterable[str | None]:
    """Yield what happened, to whom, by whom and why."""
    yield event["camera"] if event["type"] in ("setting", "drift") else None
    yield event.get("source")
    if event["type"] == "setting":
        yield f"{values_text(event['kind'], event['old'], event['new'])}, by {event['who']}"
    elif event["type"] == "control":
        yield event.get("who")
    yield event.get("reason")


def _newest(name: str, count: int, shown: int) -> str:
    return f"{name}: {count}" if count == shown else f"{name}: the newest {shown} of {count}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{html.escape(name)}" for name in head)
    lines = ["".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows]
    return f"<table><tr>{titles}<tr>{'<tr>'.join(lines)}</table>"
