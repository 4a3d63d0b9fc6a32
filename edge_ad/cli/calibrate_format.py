"""Text output of `edge-ad calibrate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def format_nodes(result: dict[str, Any]) -> str:
    """Format the nodes with their decisions and rules as a table."""
    rows = [
        (("int8" if node["int8"] else "float"), node["op"], node["node"], node["rule"])
        for node in result["nodes"]
    ]
    return "\n".join(f"{kind:6}{op:20}{name:32}{rule}" for kind, op, name, rule in rows)


def format_result(result: dict[str, Any]) -> str:
    """Format the outcome of a calibration."""
    return "\n".join(_result_lines(result))


def _result_lines(result: dict[str, Any]) -> Iterator[str]:
    gate, speed = result["gate"], result["speed"]
    yield (
        f"{result['engine'] or 'no engine written'}: {result['method']}, "
        f"{result['int8_nodes']} of {len(result['nodes'])} nodes in int8"
    )
    if result["precision_comparison"]:
        yield _format_comparison(result["precision_comparison"], result["fp32"])
    if gate:
        yield from _gate_lines(gate)
    if result["float_blocks"]:
        yield f"returned to float: {', '.join(result['float_blocks'])}"
    if speed:
        yield (
            f"here: fp32 {speed['fp32_ms']:.1f} ms, int8 {speed['int8_ms']:.1f} ms per image, "
            f"{speed['speedup']:.2f} times the throughput"
        )
    if gate and gate["alarms"]:
        alarms = gate["alarms"]
        yield (
            f"  {alarms['false_alarms']} false alarms, {alarms['changed_verdicts']} verdicts other "
            "than fp32's, each engine at its own threshold"
        )
    if result["compiled"]:
        counts = result["compiled"]["layers"]
        layers = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        yield f"TensorRT-RTX compiles it to: {layers}"
    yield f"ranges: {result['ranges']}"
    yield f"report: {result['report']}"


def _gate_lines(gate: dict[str, Any]) -> Iterator[str]:
    yield f"gate on {gate['normal']} normal and {gate['anomalous']} anomalous images:"
    for name, loss in gate["losses"].items():
        yield f"  {name} lost {loss:+.4f}"
    for line in gate["not_checked"]:
        yield f"  not checked: {line}"
    if gate["left_out"]:
        yield f"  {len(gate['left_out'])} files were left out"


def _format_comparison(comparison: dict[str, Any], fp32: str) -> str:
    times = ", ".join(
        f"{item['precision']} {item['ms']:.1f} ms" + ("" if item["passed"] else " (fails the gate)")
        for item in comparison["precisions"]
    )
    deploy = {
        "int8": f"{comparison['speedup']:.2f} times as fast as fp32, deploy the int8 file",
        "fp16": f"int8 is not worth it here: edge-ad convert {fp32} --precision fp16",
        "fp32": f"int8 is not worth it here: deploy {fp32}",
    }
    return f"time per image: {times}. {deploy[comparison['winner']]}"


def format_failure(result: dict[str, Any]) -> str:
    """Explain why no engine was written, and what to change."""
    return (
        f"no int8 engine of {result['fp32']} passes the gate. The best found ({result['method']}, "
        f"{len(result['float_blocks'])} blocks in float): {'; '.join(result['gate']['failures'])}. "
        "Allow more layers in float with --max-float, a larger loss with --max-auroc-loss or "
        "--max-pixel-ap-loss (--resume reuses what was measured), or deploy fp16."
    )
