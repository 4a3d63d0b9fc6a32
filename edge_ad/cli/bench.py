"""`edge-ad bench`: measure the speed of an engine, and of the whole loop."""

from __future__ import annotations

import operator
import re
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.options import emit, shared
from edge_ad.cli.types import Number, NumberRange
from edge_ad.engine import EngineOptions
from edge_ad.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from edge_ad.line.config import LineConfig

_PERCENTILES = ("p50", "p95", "p99", "max")
_LIMIT = re.compile(r"^\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*$")
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Limit(click.ParamType[Any]):
    """A limit on a figure, like `p99_ms<8` or `loop_ratio>=0.9`."""

    name = "name<value"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str, float]:
        match = _LIMIT.match(str(value))
        if match is None:
            self.fail(f"expected a comparison like p99_ms<8 or loop_ratio>=0.9; got '{value}'")
        return match[1], match[2], float(match[3])


@click.command()
@click.option("--engine", required=True, type=click.Path(path_type=Path), help="Engine file.")
@click.option(
    "--camera",
    "uri",
    metavar="URI",
    help="Video or folder; with it the whole loop is measured too.",
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Engine and loop are measured alternately, so many times.",
)
@click.option("--frames", default=0, type=click.IntRange(0), help="Frames a round; 0 means all.")
@click.option(
    "--warmup-ms", default=200.0, show_default=True, type=NumberRange(0), help="Not counted."
)
@click.option(
    "--duration-s",
    default=3.0,
    show_default=True,
    type=NumberRange(0),
    help="How long the engine alone is measured.",
)
@geometry_options
@click.option("--threshold", type=Number(), help="Reject above this score, not the stored one.")
@engine_options
@click.option(
    "--assert",
    "limits",
    multiple=True,
    type=Limit(),
    help="Exit 4 unless it holds, like p99_ms<8 or loop_ratio>=0.9; repeats.",
)
@shared
def command(
    *,
    engine: Path,
    uri: str | None,
    as_json: bool,
    limits: tuple[tuple[str, str, float], ...],
    engine_options: EngineOptions,
    threshold: float | None,
    rounds: int,
    frames: int,
    warmup_ms: float,
    duration_s: float,
    geometry: dict[str, Any],
) -> None:
    """Measure an engine, and with --camera the whole loop beside it.

    Latencies are percentiles of every call after the warm-up. `loop_ratio` compares the loop's
    throughput with the engine's own on the same frames, measured alternately; geometry and
    threshold apply to the loop only.
    """
    from edge_ad.line.config import LineConfig

    if uri is None and (geometry or threshold is not None):
        raise UsageError(
            "geometry and threshold apply to the loop, but without --camera only the engine is "
            "measured. Give --camera URI (a video or folder), or leave them out."
        )
    result = _measure_engine(engine, engine_options, warmup_ms / 1e3, duration_s)
    if uri is not None:
        if threshold is None and not _has_threshold(engine):
            threshold = sys.float_info.max  # nothing is rejected; the speed does not depend on it
        config = LineConfig(
            (uri,), engine, geometry, threshold, frames=frames, engine_options=engine_options
        )
        result |= _measure_loop(config, rounds)
    emit(result) if as_json else click.echo(format_result(result))
    _check_limits(result, limits)


def format_result(result: dict[str, Any]) -> str:
    """Format the figures as a table: engine and loop by row, percentiles by column."""
    rows: list[tuple[str, ...]] = [("", "frames/s", "p50 ms", "p95 ms", "p99 ms", "max ms")]
    engine = {name: result[f"{name}_ms"] for name in _PERCENTILES if f"{name}_ms" in result}
    rows.append(("engine", *_cells(result["engine_fps"], engine)))
    if "loop_fps" in result:
        rows.append(
            ("engine, frames", *_cells(result["loop_engine_fps"], result["loop_engine_ms"]))
        )
        rows.append(("loop", *_cells(result["loop_fps"], result["loop_latency_ms"])))
    lines = [f"{result['engine']}: batch {result['batch']}, {result['calls']} calls", ""]
    lines += [f"{name:<16}" + "".join(f"{cell:>11}" for cell in cells) for name, *cells in rows]
    if "loop_fps" in result:
        frames, ratio = result["loop_frames"], result["loop_ratio"]
        lines += ["", f"the loop runs at {ratio:.0%} of the engine's speed on {frames} frames"]
    return "\n".join(lines)


def _cells(fps: float, times_ms: dict[str, float]) -> list[str]:
    times = [f"{times_ms[name]:.2f}" if name in times_ms else "-" for name in _PERCENTILES]
    return [f"{fps:.1f}", *times]


def _measure_engine(
    path: Path, options: EngineOptions, warmup_s: float, duration_s: float
) -> dict[str, Any]:
    import numpy as np

    from edge_ad.bench import time_engine
    from edge_ad.engine import open_engine
    from edge_ad.line.tally import percentiles_ms

    with open_engine(path, options) as engine:
        shape = (engine.manifest.batch or 1, *engine.manifest.size_hw, 3)
        batch = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        calls = time_engine(engine, [batch], warmup_s=warmup_s, duration_s=duration_s)
    result: dict[str, Any] = {"engine": str(path), "batch": shape[0], "calls": len(calls)}
    result["engine_fps"] = round(shape[0] * len(calls) / sum(calls), 2)
    times = percentiles_ms(deque(calls)) or {}
    return result | {f"{name}_ms": value for name, value in times.items()}


def _has_threshold(engine: Path) -> bool:
    from edge_ad.manifest import load_sidecar

    sidecar = load_sidecar(engine)
    return sidecar is not None and sidecar.threshold is not None


def _measure_loop(config: LineConfig, rounds: int) -> dict[str, Any]:
    from edge_ad.bench import bench_loop

    bench = bench_loop(config, rounds=rounds)
    return {
        "loop_frames": bench.frames,
        "loop_fps": round(bench.loop_fps, 2),
        "loop_engine_fps": round(bench.engine_fps, 2),
        "loop_ratio": round(bench.ratio, 4),
        "loop_latency_ms": bench.latency_ms,
        "loop_engine_ms": bench.engine_ms,
    }


def _check_limits(result: dict[str, Any], limits: tuple[tuple[str, str, float], ...]) -> None:
    for name, comparison, limit in limits:
        value = result.get(name)
        if not isinstance(value, int | float):
            known = [key for key, item in result.items() if isinstance(item, int | float)]
            raise UsageError(f"--assert {name}: not measured. Measured: {', '.join(known)}.")
        if not _COMPARE[comparison](value, limit):
            raise GateFailed(f"expected {name} {comparison} {limit:g}, got {value}.")
