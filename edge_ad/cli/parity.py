"""Format the report of a new engine file, for `export` and `convert`."""

from __future__ import annotations

from typing import Any


def format_report(report: dict[str, Any]) -> str:
    """Return the lines that `export` and `convert` print of their report."""
    lines = [f"{report['engine']}: {report['bytes'] / 1e6:.1f} MB, {_figures(report['parity'])}"]
    if "rounding" in report:
        lines.append(f"8-bit weights: {_figures(report['rounding'])}")
    if "fp16" in report:
        lines += _kept(report["fp16"])
    lines.append(f"report: {report['engine']}.report.json")
    if report.get("threshold"):
        lines.append("threshold carried over: the outputs are the same")
    else:
        lines.append(f"next: edge-ad threshold {report['engine']} --images GOOD_DIR")
    return "\n".join(lines)


def _figures(parity: dict[str, Any]) -> str:
    return (
        f"differs from {parity['against']} by at most {parity['max_abs_map']:.2g} in the map "
        f"(largest {parity['map_scale']:.3g}) and {parity['max_abs_score']:.2g} in the score "
        f"(largest {parity['score_scale']:.3g}) on {parity['frames']} frames"
    )


def _kept(fp16: dict[str, Any]) -> list[str]:
    """Return how many nodes stay in fp32, with counts by reason."""
    head = f"fp16: {fp16['nodes'] - fp16['kept_in_fp32']} of {fp16['nodes']} nodes; kept in fp32:"
    return [head, *(f"  {len(names):4}  {why}" for why, names in fp16["why"].items())]
