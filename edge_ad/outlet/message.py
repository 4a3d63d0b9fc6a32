"""Events in words, as chat channels and phones show them."""

from __future__ import annotations

from typing import Any

from edge_ad.clock import local_text
from edge_ad.outlet.durable import Record

_COLOURS = {"new": "attention", "end": "good"}


def headline(record: Record) -> str:
    """Return one line: what happened, and where."""
    test = "TEST: " if record.get("test") else ""
    camera = record.get("camera")
    return test + _what(record) + (f" on {camera}" if camera else "")


def facts(record: Record) -> dict[str, str]:
    """Return what else is known, by name: part, score, reason, local time and id."""
    score, threshold = record.get("score"), record.get("threshold")
    known = {
        "Part": record.get("part"),
        "Score": f"{score:.4g} (threshold {threshold:.4g})"
        if score is not None and threshold is not None
        else None,
        "Reason": record.get("reason"),
        "Count": record.get("count"),
        "Time": local_text(record["time_utc"]),
        "Event": record["id"],
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def slack(record: Record) -> dict[str, Any]:
    """Return the message for an incoming webhook of Slack, Mattermost or Rocket.Chat."""
    lines = [f"*{headline(record)}*", *(f"{name}: {text}" for name, text in facts(record).items())]
    escaped = "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped}


def teams(record: Record) -> dict[str, Any]:
    """Return an adaptive card in a message, as Teams' workflow for webhooks expects."""
    title = {
        "type": "TextBlock",
        "text": headline(record),
        "weight": "Bolder",
        "size": "Medium",
        "wrap": True,
        "color": _COLOURS.get(record.get("step", ""), "default"),
    }
    pairs = [{"title": name, "value": text} for name, text in facts(record).items()]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, {"type": "FactSet", "facts": pairs}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def ntfy(record: Record, topic: str) -> dict[str, Any]:
    """Return the message for an ntfy server, which goes to its root."""
    urgent = record.get("step") in ("new", None)
    return {
        "topic": topic,
        "title": headline(record),
        "message": "\n".join(f"{name}: {text}" for name, text in facts(record).items()),
        "priority": 4 if urgent else 2,
        "tags": ["rotating_light" if urgent else "white_check_mark"],
    }


def _what(record: Record) -> str:
    words = {"defect": "defect", "camera_fault": "camera fault", "reject_rate": "reject rate"}
    kind = words.get(record.get("kind", ""), "")
    if record["type"] == "alarm":
        step = {"new": "Alarm", "update": "Alarm, stronger", "end": "Alarm ended"}
        return f"{step.get(record.get('step', ''), 'Alarm')}: {kind}"
    if record["type"] == "reject":
        return "Part rejected"
    return " ".join(
        filter(None, (record["type"].replace("_", " ").capitalize(), record.get("step")))
    )
