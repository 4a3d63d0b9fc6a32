"""Text of `edge-ad bench`, and its figures by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9", "max")
_TOO_SMALL = "n too small"
_SWEPT = {"streams": "streams", "batches": "batch"}  # by section, what its rows are counted in
_SHOWN = 0.005  # of the time: the rest are dozens of small layers


def flat_figures(result: Mapping[str, Any], prefix: str = "") -> dict[str, float | None]:
    """Return all figures by their dotted names; None has no figure.

    Like `stages.decode.p50_ms`; of a sweep `streams.2.p99_ms` and `batches.4.images_per_s`.
    """
    figures: dict[str, float | None] = {}
    for key, value in result.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            figures |= flat_figures(value, f"{name}.")
        elif key in _SWEPT and isinstance(value, Sequence):
            rows = {str(row[_SWEPT[key]]): row for row in value}
            figures |= flat_figures(rows, f"{name}.")
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            figures[name] = value
    return figures


def format_result(result: Mapping[str, Any]) -> str:
    """Format a result as tables, one below the other."""
    sections = [_head(result), *_sections(result)]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _sections(result: Mapping[str, Any]) -> Iterator[list[str]]:
    yield _latencies(result)
    if "stages" in result:
        yield _stages(result["stages"])
    if "bound_by" in result:
        yield [f"On the GPU, the engine is bound by {result['bound_by']}."]
    if "energy" in result:
        yield _energy(result["energy"])
    if "loop_ratio" in result:
        yield _loop(result)
    if "rate" in result:
        yield _rate(result["rate"])
    for key in ("batches", "streams"):
        if key in result:
            yield _sweep(result[key])
    if "roofline" in result:
        yield _roofline(result["roofline"])
    if "estimate" in result:
        yield _estimate(result["estimate"])
    if "capacity" in result:
        yield _capacity(result["capacity"])
    if "scenario" in result:
        yield _scenario(result["scenario"])
    if "compared" in result:
        yield _compared(result["compared"])
    if "unstable" in result:
        yield [f"Unstable: {'; '.join(result['unstable'])}."]


def _head(result: Mapping[str, Any]) -> list[str]:
    known = result["conditions"]
    where = ", ".join(known.get("gpus") or [known.get("processor", "unknown processor")])
    named = ("governor", "power_mode", "clock_mhz", "temperature_c")
    also = "".join(f", {name.split('_')[0]} {known[name]}" for name in named if name in known)
    if "other_cores" in known:
        also += f", other programs took {known['other_cores']} cores"
    return [
        f"{result['engine']} ({result['method']}, {result['precision']})",
        f"{where}, {known['cores']} cores, load {result['load_average']}{also}",
    ]


def _latencies(result: Mapping[str, Any]) -> list[str]:
    rows = []
    if "engine_fps" in result:
        rows.append(("engine", f"{result['engine_fps']:.1f}", *_times(result)))
    if "loop_fps" in result:
        loop, engine = result["loop_latency_ms"], result["loop_engine_ms"]
        rows.append(("engine, frames", f"{result['loop_engine_fps']:.1f}", *_times(engine)))
        rows.append(("loop", f"{result['loop_fps']:.1f}", *_times(loop)))
    return _table(("ms", "frames/s", "n", *_PERCENTILES), rows) if rows else []


def _stages(stages: Mapping[str, Any]) -> list[str]:
    rows = [
        (name, f"{times['share']:.1%}" if "share" in times else "an event", *_times(times))
        for name, times in stages.items()
    ]
    return _table(("ms by stage", "share", "n", *_PERCENTILES), rows)


def _energy(meters: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (meter["of"], f"{meter['watts']:.1f}", f"{meter['joules_per_image']:.4f}")
        for meter in meters
    ]
    return _table(("energy", "watts", "joules/image"), rows)


def _loop(result: Mapping[str, Any]) -> list[str]:
    frames, ratio, invalid = (result[f"loop_{name}"] for name in ("frames", "ratio", "invalid"))
    lines = [f"The loop runs at {ratio:.0%} of the engine's speed on {frames} frames."]
    if invalid:
        why = ", ".join(f"{count} {reason}" for reason, count in invalid.items())
        lines.append(f"Others are INVALID and count in no figure but those of stages: {why}.")
    return lines


def _rate(rate: Mapping[str, Any]) -> list[str]:
    head = f"ms at {rate['rate_hz']:g}/s"
    behind = [] if rate["kept_up"] else ["too fast for this line: it fell behind"]
    return _table((head, "n", *_PERCENTILES), [("verdict", *_times(rate))]) + behind


def _sweep(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    kind = "batch" if "batch" in rows[0] else "streams"
    speed = "images_per_s" if kind == "batch" else "fps"
    cells = [(str(row[kind]), f"{row[speed]:.1f}", *_times(row)) for row in rows]
    return _table((kind, "images/s", "n", *_PERCENTILES), cells)


def _roofline(roofline: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            group["group"],
            str(group["layers"]),
            f"{group['ms']:.3f}",
            f"{group['share']:.1%}",
            f"{group['gflops']:.1f}",
            group["bound"],
            f"{group['of_ceiling']:.0%}",
        )
        for group in roofline["groups"]
        if group["share"] >= _SHOWN
    ]
    head = ("layers", "number", "ms", "share", "GFLOP/s", "bound", "of ceiling")
    return [
        *_table(head, rows),
        f"Ceilings of this machine: {roofline['gflops_ceiling']} GFLOP/s, "
        f"{roofline['gbytes_ceiling']} GB/s. The layers take {roofline['layers_ms']:.2f} ms; they "
        f"must take {roofline['least_ms']:.2f} ms. "
        "Int8, and what stays in a cache, may exceed them.",
    ]


def _estimate(estimate: Mapping[str, Any]) -> list[str]:
    rows = [
        (row["device"], f"{row['estimate_ms']:.2f}", f"{row['at_least_ms']:.2f}")
        for row in estimate["devices"]
    ]
    here, least = estimate["here_ms"], estimate["here_at_least_ms"]
    return [
        *_table(("estimate, not measured", "ms", "at least"), rows),
        "From published peaks. 'At least' is the time at them; the estimate is as many times "
        f"longer as this machine takes: {here:.2f} ms for {least:.2f}. Its own peaks alone are off "
        f"by {estimate['error']:.0%}.",
    ]


def _capacity(found: Mapping[str, Any]) -> list[str]:
    number, rate, latency = found["streams"], found["rate_hz"], found["latency_ms"]
    known = f"{rate:g} frames/s with verdicts within {latency:g} ms"
    if not number:
        return [f"Not even one stream of {known} fits: {found['limit']}."]
    line = f"{number} streams of {known} fit." if number > 1 else f"1 stream of {known} fits."
    return [line, f"With more: {found['limit']}."] if found["limit"] else [line]


def _scenario(scenario: Mapping[str, Any]) -> list[str]:
    figures = ", ".join(
        f"{name} {_TOO_SMALL if value is None else value}"
        for name, value in scenario.items()
        if name not in ("scenario", "valid", "invalid_because")
    )
    lines = [f"MLPerf {scenario['scenario']}: {figures}"]
    if not scenario["valid"]:
        lines.append(f"Not by MLPerf's rules: {'; '.join(scenario['invalid_because'])}.")
    return lines


def _compared(compared: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            change["name"],
            f"{change['old_ms']:.3f}",
            f"{change['new_ms']:.3f}",
            f"{change['change']:+.1%}",
            f"{change['noise']:.1%}",
            change["verdict"],
        )
        for change in compared["changes"]
    ]
    table = _table((f"against {compared['with']}", "old ms", "new ms", "change", "noise", ""), rows)
    return table + [f"Not the same: {doubt}." for doubt in compared["doubts"]]


def _times(times: Mapping[str, Any]) -> list[str]:
    cells = [times[f"{name}_ms"] for name in _PERCENTILES]
    n = times.get("n", 0)
    return [str(n), *(_TOO_SMALL if cell is None else f"{cell:.3f}" for cell in cells)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns: names to the left, figures to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
