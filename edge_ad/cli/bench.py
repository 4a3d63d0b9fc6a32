"""`edge-ad bench`: how fast this machine judges."""

from __future__ import annotations

import operator
import re
from collections import deque
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.options import emit, shared
from edge_ad.cli.types import Number, NumberRange
from edge_ad.engine import EngineOptions
from edge_ad.errors import UsageError

_LIMIT = re.compile(r"^\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*$")
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Limit(click.ParamType[Any]):
    """A promise to keep, like `p99_ms<8` or `loop_ratio>=0.9`."""

    name = "name<value"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str, float]:
        found = _LIMIT.match(str(value))
        if found is None:
            self.fail(f"expected a comparison like p99_ms<8 or loop_ratio>=0.9; got '{value}'")
        return found[1], found[2], float(found[3])


@click.command()
@click.option("--engine", required=True, type=click.Path(path_type=Path), help="Engine file.")
@click.option(
    "--camera",
    "uri",
    metavar="URI",
    help="Video or folder to judge; with it the whole loop is measured too.",
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Engine and loop are measured in turn, so many times.",
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
    **options: Any,
) -> None:
    """Measure an engine, and with --camera the whole loop beside it.

    Latencies are percentiles of every call after the warm-up. `loop_ratio` compares the loop's
    throughput with the engine's own on the same frames, taken in turn; geometry and threshold are
    the loop's.
    """
    geometry = options["geometry"]
    if uri is None and (geometry or options["threshold"] is not None):
        raise UsageError(
            "geometry and threshold are the loop's, and without --camera the engine alone is "
            "measured. Give --camera URI (a camera, video or folder), or leave them out."
        )
    how = options["engine_options"]
    result = _engine_alone(engine, how, options)
    if uri is not None:
        result |= _loop(engine, uri, geometry, how, options)
    if as_json:
        emit(result)
    else:
        click.echo("\n".join(f"{name:16} {value}" for name, value in result.items()))
    _check(result, limits)


def _engine_alone(path: Path, how: EngineOptions, options: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from edge_ad.bench import time_engine
    from edge_ad.engine import open_engine
    from edge_ad.line.tally import percentiles_ms

    with open_engine(path, how) as engine:
        shape = (engine.manifest.batch or 1, *engine.manifest.size_hw, 3)
        batch = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        calls = time_engine(
            engine, [batch],
            warmup_s=options["warmup_ms"] / 1e3, duration_s=options["duration_s"],
        )  # fmt: skip
    result: dict[str, Any] = {"engine": str(path), "batch": shape[0], "calls": len(calls)}
    result["engine_fps"] = round(shape[0] * len(calls) / sum(calls), 2)
    times = percentiles_ms(deque(calls)) or {}
    return result | {f"{name}_ms": value for name, value in times.items()}


def _loop(
    path: Path, uri: str, geometry: dict[str, Any], how: EngineOptions, options: dict[str, Any]
) -> dict[str, Any]:
    from edge_ad.bench import bench_loop
    from edge_ad.line.config import LineConfig
    from edge_ad.manifest import load_sidecar

    sidecar = load_sidecar(path)
    stored = sidecar is not None and sidecar.threshold is not None
    if options["threshold"] is None and not stored:
        options["threshold"] = float("inf")  # speed needs no promise
    config = LineConfig(
        (uri,), path, geometry, options["threshold"], frames=options["frames"], engine_options=how
    )
    found = bench_loop(config, rounds=options["rounds"])
    return {
        "loop_frames": found.frames,
        "loop_fps": round(found.loop_fps, 2),
        "loop_engine_fps": round(found.engine_fps, 2),
        "loop_ratio": round(found.ratio, 4),
        "loop_latency_ms": found.latency_ms,
        "loop_engine_ms": found.engine_ms,
    }


def _check(result: dict[str, Any], limits: tuple[tuple[str, str, float], ...]) -> None:
    from edge_ad.errors import GateFailed, UsageError

    for name, how, wanted in limits:
        value = result.get(name)
        if not isinstance(value, int | float):
            known = [key for key, held in result.items() if isinstance(held, int | float)]
            raise UsageError(f"--assert {name}: not measured. Measured: {', '.join(known)}.")
        if not _COMPARE[how](value, wanted):
            raise GateFailed(f"{name} is {value}, and {name} {how} {wanted:g} was asked for.")
