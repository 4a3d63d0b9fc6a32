"""The live view: each camera with its verdict, the last hour, and what to do about faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_ad.clock import local_text
from edge_ad.control.client import LineLink
from edge_ad.page.numbers import grouped, localised, percent
from edge_ad.page.snapshot import Snapshot, look, read_hour
from edge_ad.page.texts import Texts
from edge_ad.page.view import Answer, Html, PageRequest

_WITHIN_S = 2.0  # a line that hangs must not keep the page from its first answer
_SHOWN_SCORE = 2.0  # times the threshold at the end of the scale


def live(request: PageRequest) -> Answer:
    """Show all cameras; their frames follow through the page's WebSocket."""
    link = LineLink(request.folder, _WITHIN_S)
    try:
        snapshot = look(link, read_hour(request.folder))
    finally:
        link.close()
    return Html("live.html", {"now": live_values(snapshot, request.texts)})


def live_values(snapshot: Snapshot, t: Texts) -> dict[str, Any]:
    """Return a snapshot in the words of a language, as JSON values."""
    if snapshot.line is None:
        names = sorted(snapshot.hour.counts)
        cameras = [_camera(_absent(name), snapshot, t) for name in names]
    else:
        cameras = [_camera(camera, snapshot, t) for camera in snapshot.line["cameras"]]
    return {
        "running": snapshot.line is not None,
        "problems": [
            {"kind": t(f"live_{kind}"), "reason": reason, "advice": t(f"advice_{kind}")}
            for kind, reason in _problems(snapshot, t)
        ],
        "cameras": cameras,
    }


def _absent(name: str) -> dict[str, Any]:
    """Return the state of a camera whose line does not run."""
    return {
        "camera": name,
        "state": "stopped",
        "latest": None,
        "under_way": None,
        "alarms": [],
        "set_by_hand": [],
    }


def _camera(camera: Mapping[str, Any], snapshot: Snapshot, t: Texts) -> dict[str, Any]:
    latest = camera["latest"] if camera["state"] not in ("stopped", "paused") else None
    counts = snapshot.counts(camera)
    judged = counts.passed + counts.rejected
    return {
        "camera": camera["camera"],
        "state": camera["state"],
        "state_text": t.word("state", camera["state"]),
        "counts": t(
            "live_counts", parts=grouped(t, counts.parts), rejected=grouped(t, counts.rejected)
        )
        + (f" ({percent(t, counts.rejected / judged)})" if counts.rejected else ""),
        "invalid": t("live_invalid", count=grouped(t, counts.invalid)) if counts.invalid else "",
        "by_hand": t("live_by_hand") if "threshold" in camera["set_by_hand"] else "",
        "faults": [_fault(alarm, t) for alarm in camera["alarms"]],
        **_verdict(camera["state"], latest, t),
    }


def _verdict(state: str, latest: Mapping[str, Any] | None, t: Texts) -> dict[str, Any]:
    """Return the last verdict: words, where the score is on the scale, and its regions."""
    if latest is None:
        return {"verdict": "NONE", "verdict_text": t.word("state", state), "part": None} | {
            "score_text": "",
            "when": "",
            "level": None,
            "regions": [],
            "size": None,
        }
    score, threshold = latest.get("score"), latest["threshold"]
    boxes = [[region[key] for key in ("x", "y", "width", "height")] for region in latest["regions"]]
    return {
        "verdict": latest["verdict"],
        "verdict_text": t.word("verdict", latest["verdict"]),
        "part": latest["part"],
        "score_text": latest.get("reason") or _score_text(score, threshold, t),
        "when": t(
            "live_when", part=latest["part"], time=local_text(latest["time_utc"], zone=False)[11:]
        ),
        "level": _level(score, threshold),
        "regions": boxes,
        "size": latest.get("size_wh"),
    }


def _level(score: float | None, threshold: float) -> float | None:
    """Return where a score is on the scale, 0 to 1; None without a score or a scale."""
    if score is None or threshold <= 0:
        return None
    return round(max(0.0, min(score / threshold / _SHOWN_SCORE, 1.0)), 4)


def _score_text(score: float | None, threshold: float, t: Texts) -> str:
    if score is None:  # beyond what a float can hold
        return t("live_no_score")
    if threshold > 0:
        times, shown = localised(t, score / threshold, 3), localised(t, score, 3)
        return t("live_times", times=times, score=shown)
    return t("live_score", score=localised(t, score, 3), threshold=localised(t, threshold, 3))


def _fault(alarm: Mapping[str, str], t: Texts) -> dict[str, str]:
    """Return an alarm in words, and what a person can do about it."""
    reason = alarm.get("reason", "")
    key = f"advice_{reason.partition(':')[0].replace(' ', '_')}"
    if key not in t.words:
        key = f"advice_{alarm['kind']}"
    return {"kind": t.word("kind", alarm["kind"]), "reason": reason, "advice": t.words.get(key, "")}


def _problems(snapshot: Snapshot, t: Texts) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the line as a whole: the kind, and the reason in words."""
    hour = snapshot.hour
    if snapshot.hangs:
        yield "hangs", ""
    elif snapshot.line is None:
        since = t("live_since", time=local_text(hour.line_utc, zone=False)) if hour.line_utc else ""
        yield "stopped", since
    else:
        if problem := snapshot.line["store"]["problem"]:
            yield "store", problem
        for reason, count in snapshot.line["outlet_faults"].items():
            yield "outlet", t("live_lost", reason=reason, count=count)
    for one in snapshot.ending:
        ends = t(f"certificate_{one.state}", time=local_text(one.until, zone=False))
        yield "certificate", f"{one.name}: {ends}" + (f" ({one.outlet})" if one.outlet else "")
    if hour.problem:
        yield "store", hour.problem
    for name, error, waiting in hour.outlets:
        yield "outlet", t("live_waiting", name=name, error=error, count=waiting)
