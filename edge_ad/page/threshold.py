"""The threshold of a camera: what another one would have done, and setting it with a reason."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from edge_ad.clock import as_utc, now_utc
from edge_ad.errors import UsageError
from edge_ad.page.histogram import Axis, draw_histogram
from edge_ad.page.line import ask_line, line_state
from edge_ad.page.numbers import grouped, localised, percent
from edge_ad.page.texts import Texts
from edge_ad.page.view import Answer, Html, Json, PageRequest
from edge_ad.store.cameras import known_cameras
from edge_ad.store.reading import EventFilter, Record, open_reading, read_events
from edge_ad.store.statistics import bin_place, bin_score
from edge_ad.store.what_if import ScoreHistory, WhatIf, span_before, what_if

WINDOWS = {"hour": 60, "shift": 8 * 60, "week": 7 * 24 * 60}  # minutes
_SHOWN = 20  # escapes in the list, and changes in the history
_FARTHEST = 5000.0  # bins: 1e90
_DIGITS = 4  # of a threshold from the slider


@dataclass(frozen=True)
class CameraThreshold:
    """A camera with its present threshold, None if unknown, and the time that its spans end at.

    `state` is the running line's, None without one; `away` says why.
    """

    camera: str
    present: float | None
    until: str
    state: Mapping[str, Any] | None
    away: str

    @property
    def guarantee(self) -> Mapping[str, Any] | None:
        """What the stored threshold guarantees, as far as the running line knows one."""
        return self.state.get("guarantee") if self.state else None


def threshold(request: PageRequest) -> Answer:
    """Show the histogram of a camera's scores, and what a threshold would have done."""
    cameras = known_cameras(request.folder)
    if not cameras:
        return Html("threshold_none.html", {"text": request.texts("threshold_no_camera")})
    camera = request.camera(cameras, cameras[0])
    about = about_camera(request, camera)
    week = _history(request.folder, camera, about.until, WINDOWS["week"])
    if not week.bins or about.present is None:
        text = request.texts("threshold_no_scores")
        return Html("threshold_none.html", {"text": text, "cameras": cameras, "camera": camera})
    axis = Axis.around(week.bins, about.present)
    asked = _asked(request, about.present)
    return Html(
        "threshold.html",
        {
            "cameras": cameras,
            "about": about,
            "axis": axis,
            "bars": draw_histogram(request.texts, axis, week, about.present),
            "asked": _plain(asked),
            "changes": _changes(request, camera),
            "undo": bool(about.state and "threshold" in about.state["set_by_hand"]),
            **_answer(request, about, asked),
        },
    )


def ask_what_if(request: PageRequest) -> Answer:
    """Return the part of the page that says what a threshold would have done."""
    camera = request.one("camera")
    about = about_camera(request, camera)
    if about.present is None:
        raise UsageError(f"camera: there is no '{camera[:100]}' with a threshold here.")
    asked = _asked(request, about.present)
    return Html("threshold_answer.html", _answer(request, about, asked))


def set_threshold(request: PageRequest) -> Answer:
    """Let the running line reject above another score, from the next frame."""
    camera, reason = request.field("camera"), _reason(request)
    value = request.number("threshold")
    return Json(ask_line(request, "set_threshold", camera=camera, threshold=value, reason=reason))


def undo_threshold(request: PageRequest) -> Answer:
    """Let the running line return to the threshold before."""
    camera, reason = request.field("camera"), _reason(request)
    return Json(ask_line(request, "undo", setting="threshold", camera=camera, reason=reason))


def _reason(request: PageRequest) -> str:
    reason = request.field("reason", "")
    if not reason or len(reason) > 500:
        raise UsageError(request.texts("threshold_needs_reason"))
    return reason


def _asked(request: PageRequest, present: float) -> float:
    """Return the threshold asked for: a number, a place on the slider, or the present one."""
    if request.one("threshold"):
        return request.decimal("threshold")
    if request.one("position"):
        place = max(-_FARTHEST, min(_FARTHEST, request.decimal("position")))
        return float(f"{bin_score(place):.{_DIGITS}g}")
    return present


def about_camera(request: PageRequest, camera: str) -> CameraThreshold:
    """Return a camera's threshold, as the running line has it or the last one had."""
    state, away = line_state(request)
    cameras = state["cameras"] if state else []
    of_camera = next((one for one in cameras if one["camera"] == camera), None)
    last = _last_minute(request.folder, camera)
    if of_camera is not None:
        return CameraThreshold(camera, of_camera["threshold"], now_utc(), of_camera, "")
    present = _last_threshold(request.folder, camera)
    return CameraThreshold(camera, present, _end_of(last) if last else now_utc(), None, away)


def _end_of(minute: str) -> str:
    return as_utc(datetime.fromisoformat(f"{minute[:16]}+00:00") + timedelta(minutes=1))


def _answer(request: PageRequest, about: CameraThreshold, asked: float) -> dict[str, Any]:
    answers = {
        name: what_if(_history(request.folder, about.camera, about.until, minutes), asked)
        for name, minutes in WINDOWS.items()
    }
    week = answers["week"]
    texts = request.texts
    return {
        "value": _plain(asked),
        "position": round(bin_place(asked), 2),
        "times": _times(texts, asked, about.present),
        "windows": [_window(texts, name, answer) for name, answer in answers.items()],
        "escapes": week.escapes[::-1][:_SHOWN],
        "escaped": len(week.escapes),
        "week": week,
        "guarantee": guarantee_text(texts, about.guarantee, asked),
        "guaranteed": bool(about.guarantee and asked >= about.guarantee["threshold"]),
        "number": partial(localised, texts),
        "camera": about.camera,
        "rule": about.state.get("rule") if about.state else None,
    }


def _window(texts: Texts, name: str, answer: WhatIf) -> dict[str, Any]:
    """Return a row: parts, rejects as they were, and as they would have been."""
    least, most = grouped(texts, answer.least), grouped(texts, answer.most)
    low, high = _share(answer.least, answer), _share(answer.most, answer)
    return {
        "name": texts(f"window_{name}"),
        "judged": grouped(texts, answer.judged),
        "rejected": grouped(texts, answer.rejected),
        "share": percent(texts, _share(answer.rejected, answer)),
        "would": least if answer.is_exact else texts("threshold_range", least=least, most=most),
        "would_share": percent(texts, low)
        if answer.is_exact
        else texts("threshold_range", least=percent(texts, low), most=percent(texts, high)),
        "more": answer.least > answer.rejected,
        "fewer": answer.most < answer.rejected,
    }


def _share(count: int, answer: WhatIf) -> float | None:
    return count / answer.judged if answer.judged else None


def guarantee_text(texts: Texts, guarantee: Mapping[str, Any] | None, asked: float) -> str:
    """Return what the stored guarantee says about a threshold."""
    if guarantee is None:
        return texts("guarantee_none")
    values = {
        "rate": percent(texts, guarantee["rate"]),
        "confidence": percent(texts, guarantee["confidence"]),
        "parts": grouped(texts, guarantee["parts"]),
        "threshold": localised(texts, guarantee["threshold"]),
    }
    unit = "part" if guarantee["by"] == "part" else "image"
    if asked < guarantee["threshold"]:
        above = _share_above(texts, guarantee, asked)
        return " ".join([texts("guarantee_below", **values), *above])
    words = [texts(f"guarantee_{unit}", **values)]
    words += [texts("guarantee_higher", **values)] if asked > guarantee["threshold"] else []
    words += [texts("guarantee_estimate")] if guarantee["estimate"] else []
    words += [texts("guarantee_assumed")] if guarantee["assumed"] else []
    escapes = guarantee.get("escapes")
    if escapes and asked == guarantee["threshold"]:
        words.append(texts(f"guarantee_{escapes['kind']}", **escapes))
    return " ".join(words)


def _share_above(texts: Texts, guarantee: Mapping[str, Any], asked: float) -> list[str]:
    """Return which share of the threshold's own images lies above, as far as quantiles say."""
    scores = guarantee.get("scores")
    if not scores:
        return []
    steps, below = len(scores) - 1, bisect_right(scores, asked)
    least = max(0.0, 1 - below / steps)
    most = min(1.0, 1 - (below - 1) / steps)
    return [texts("guarantee_above", least=percent(texts, least), most=percent(texts, most))]


def _times(texts: Texts, asked: float, present: float | None) -> str:
    if asked == present:
        return texts("threshold_is_present")
    if not present or present <= 0 or asked <= 0:
        return ""
    return texts("threshold_times", times=localised(texts, asked / present, 3))


def _history(folder: Path, camera: str, until: str, minutes: int) -> ScoreHistory:
    """Return the scores of a span of whole minutes; the slider asks for the same one many times."""
    with open_reading(folder) as connection:
        noted = connection.execute(
            "SELECT max(seq) FROM events WHERE refers IS NOT NULL AND type = 'mark'"
        ).fetchone()[0]
    return _read_history(folder, camera, until[:16] + ":00.000+00:00", minutes, noted)


@lru_cache(maxsize=24)
def _read_history(
    folder: Path, camera: str, until: str, minutes: int, noted: int | None
) -> ScoreHistory:
    return ScoreHistory.read(folder, camera, *span_before(until, minutes))


def _changes(request: PageRequest, camera: str) -> list[Record]:
    """Return the latest changes of a camera's threshold, newest first."""
    chosen = EventFilter(cameras=(camera,), types=("threshold",), limit=_SHOWN)
    return list(read_events(request.folder, chosen))[::-1]


def _last_minute(folder: Path, camera: str) -> str:
    with open_reading(folder) as connection:
        row = connection.execute(
            "SELECT max(minute) FROM statistics WHERE camera = ?", (camera,)
        ).fetchone()
    return row[0] or ""


def _last_threshold(folder: Path, camera: str) -> float | None:
    """Return the threshold that the last line used, as far as it has left a trace."""
    with open_reading(folder) as connection:
        row = connection.execute(
            "SELECT threshold, type, new FROM events WHERE camera = ? AND (threshold IS NOT NULL "
            "OR (type = 'setting' AND kind = 'threshold')) ORDER BY seq DESC LIMIT 1",
            (camera,),
        ).fetchone()
    if row is None:
        return None
    return float(row["new"] if row["type"] == "setting" else row["threshold"])


def _plain(value: float) -> str:
    """Return a number as forms and scripts read it."""
    return repr(float(value))
