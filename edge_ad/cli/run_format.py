"""Text of `edge-ad run`: the summary of a run, and what --check found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_ad.files import printable
from edge_ad.line.rate_check import as_percent
from edge_ad.wording import counted


def format_summary(result: dict[str, Any]) -> str:
    """Format the summary of a run."""
    return "\n".join(["", *(f"{name:11}{text}" for name, text in _summary_rows(result))])


def _summary_rows(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        "frames",
        f"{result['frames']}  (judged {result['judged']}, dropped {result['dropped']}, "
        f"invalid {result['invalid']})",
    )
    if result["left_out"]:
        yield "left out", _format_left_out(result["left_out"], result["left_out_files"])
    yield "rejected", f"{result['rejected']}"
    if result.get("part") != "frame":  # there, a rejected part is no alarm
        yield "alarms", f"{result['alarms']}"
    yield "cameras", counted(result["camera_faults"], "fault")
    yield "rate", f"{result['fps']} judged frames/s over {result['elapsed_s']} s"
    if triggers := result.get("triggers"):
        fired, served, missed = (triggers[name] for name in ("fired", "served", "missed"))
        yield "triggers", f"{fired}  (served {served}, missed {missed})"
    for name, key in (("latency", "latency_ms"), ("engine", "engine_ms")):
        if times := result[key]:
            percentiles = "  ".join(f"{part} {value:.1f}" for part, value in times.items())
            yield name, f"{percentiles} ms"
    if images := result.get("evidence"):
        missing = "".join(f", {images[key]} {key}" for key in ("lost", "deleted") if images[key])
        yield "evidence", f"{images['written']} images{missing}"
    if check := result.get("rate_check"):
        yield "guarantee", _format_rate_check(check)
    for outlet in result.get("outbox", ()):
        yield "outlet", _format_outlet(outlet)


def _format_left_out(count: int, some: Sequence[str]) -> str:
    rest = count - len(some)
    more = f" and {rest} more" if rest else ""
    return f"{count} files: {printable(', '.join(some))}{more}"


def _format_rate_check(check: Mapping[str, Any]) -> str:
    bound = f"of normal ones at most {as_percent(check['guaranteed_rate'])}"
    if check["expected_anomalous"]:
        bound += f", expected to be anomalous {as_percent(check['expected_anomalous'])}"
    counts = f"{check['rejected']} of {check['parts']} parts rejected"
    if not check["exceeded"]:
        return f"{'kept' if check['parts'] else 'not tested'}  ({counts}; {bound})"
    against = f"{check['exceeded_rejected']} of {check['exceeded_parts']} parts up to there"
    return (
        f"exceeded at frame {check['exceeded_at']}  ({against} rejected; {bound}; {counts} in all)"
    )


def _format_outlet(outlet: dict[str, Any]) -> str:
    parts = [f"{outlet['delivered']} delivered"]
    if outlet["dead"]:
        parts.append(f"{outlet['dead']} refused")
    if outlet["waiting"]:
        parts.append(f"{outlet['waiting']} wait for the next start")
    reason = f" ({outlet['error']})" if outlet.get("error") else ""
    return f"{outlet['outlet']}: {', '.join(parts)}{reason}"


def format_check(result: dict[str, Any]) -> str:
    """Format what would run: a table of cameras, then engines, outlets and the folder."""
    rows = [("camera", "source", "engine", "threshold", "from", "geometry", "alarm at")]
    rows += [
        (
            camera["camera"], camera["source"], camera["engine"], f"{camera['threshold']:.4g}",
            camera["threshold_from"], _geometry(camera["geometry"]),
            _alarm_at(camera),
        )
        for camera in result["cameras"]
    ]  # fmt: skip
    lines = [*aligned(rows), ""]
    for engine in result["engines"]:
        changed = ", ".join(f"{name} {value}" for name, value in engine["options"].items())
        about = f" ({changed})" if changed else ""
        lines.append(f"engine {engine['engine']}{about}: {', '.join(engine['cameras'])}")
    for outlet in result["outlets"]:
        lines.append(f"outlet {outlet['outlet']}: {', '.join(outlet['cameras'])}")
    running = ", where a line runs now" if result["running"] else ""
    lines.append(f"output {result['output'] or 'none'}{running}")
    lines.append("The line can start. Cameras and outlets were not opened.")
    return "\n".join(lines)


def _alarm_at(camera: dict[str, Any]) -> str:
    """Return when an alarm is raised, or that each rejected part is an event by itself."""
    rule = camera["rule"]
    return "every reject" if camera["part"] == "frame" else f"{rule['k']} of {rule['n']}"


def _geometry(geometry: dict[str, Any]) -> str:
    parts = []
    if geometry["roi_xywh"]:
        parts.append("roi " + ",".join(map(str, geometry["roi_xywh"])))
    if geometry["ignore"]:
        parts.append(f"{len(geometry['ignore'])} ignored")
    if tuple(geometry["tiles"]) != (1, 1):
        parts.append("{}x{} tiles".format(*geometry["tiles"]))
    return "; ".join(parts) or "whole frame"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table, with columns as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
