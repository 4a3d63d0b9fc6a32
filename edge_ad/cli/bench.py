"""`edge-ad bench`: measure the speed of an engine, of every stage and of the whole loop."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edge_ad.cli.bench_limits import Counts, Limit, check_names, check_result
from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.requirements import require_package
from edge_ad.cli.types import Number, NumberRange
from edge_ad.engine import EngineOptions
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.bench.session import BenchSession
    from edge_ad.line.config import LineConfig


@click.command(cls=GroupedCommand)
@click.option("--engine", required=True, type=click.Path(path_type=Path), help="Engine file.")
@click.option(
    "--camera",
    "uri",
    metavar="URI",
    help="Video or folder; with it every stage and the whole loop are measured too.",
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Rounds in which engine and loop are measured in turn.",
)
@click.option(
    "--frames",
    default=0,
    type=click.IntRange(0),
    help="Frames a round; 0 means all, up to 256 MiB.",
)
@click.option(
    "--warmup-ms", default=200.0, show_default=True, type=NumberRange(0), help="Not counted."
)
@click.option(
    "--duration-s",
    default=9.0,
    show_default=True,
    type=NumberRange(0, 86_400, min_open=True),
    help="How long each thing is measured; 60 for figures to decide by, 600 to publish.",
)
@click.option("--batch", "batches", type=Counts(), help="Measure calls of these sizes, like 1,2,4.")
@click.option(
    "--rate",
    "rate_hz",
    type=NumberRange(0, 100_000, min_open=True),
    help="Frames a second: measure the latency at this rate.",
)
@click.option("--streams", type=Counts(), help="Measure this many streams at once, like 1,2,4.")
@click.option("--capacity", is_flag=True, help="Find the most streams at --rate without a drop.")
@click.option(
    "--latency-ms",
    type=NumberRange(0, min_open=True),
    help="Limit for --capacity, 99 % of the verdicts; the time between two frames by default.",
)
@click.option("--roofline", is_flag=True, help="Show what each kind of layer costs, of ONNX files.")
@click.option(
    "--estimate", is_flag=True, help="Estimate the time on Jetsons and RTX cards, of ONNX files."
)
@click.option(
    "--scenario",
    type=click.Choice(["single-stream", "multi-stream", "offline"]),
    help="Measure the engine by MLPerf's rules.",
)
@geometry_options
@click.option("--threshold", type=Number(), help="Reject above this score, not the stored one.")
@engine_options
@click.option(
    "--assert",
    "limits",
    multiple=True,
    type=Limit(),
    help="Exit 4 unless it holds, like p99_ms<8 or stages.decode.p50_ms<5; repeats.",
)
@click.option(
    "--compare",
    "older",
    type=click.Path(path_type=Path),
    help="Compare with a result that -o wrote.",
)
@click.option("--allow-unstable", is_flag=True, help="Exit 0 although the windows disagree.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Result with raw samples.")
@click.option("--figure", type=click.Path(path_type=Path), help="Latencies and stages as a PNG.")
@shared
def command(
    *,
    engine: Path,
    uri: str | None,
    as_json: bool,
    limits: tuple[tuple[str, str, float], ...],
    engine_options: EngineOptions,
    threshold: float | None,
    frames: int,
    geometry: dict[str, Any],
    figure: Path | None,
    output: Path | None,
    older: Path | None,
    allow_unstable: bool,
    **measured: Any,
) -> None:
    """Measure an engine, and with --camera every stage and the whole loop.

    Percentiles are by nearest rank. One that the sample is too small for is left out, and its
    limit counts as not met. The engine is measured until three windows in a row agree within 10 %;
    when they do not within ten, the result is unstable and the exit code 4.

    `loop_ratio` compares the loop's throughput with the engine's own on the same frames, measured
    alternately. Latencies at a --rate run from a frame's scheduled arrival, so that a stall counts
    for every frame that had to wait.
    """
    from edge_ad.bench.result import write_result
    from edge_ad.line.config import LineConfig

    _check(uri, geometry, threshold, frames=frames, **measured)
    _check_layers(engine, engine_options, measured)
    check_names(limits, camera=uri is not None, options=measured)
    config = LineConfig(
        (uri,) if uri else (),
        engine,
        geometry,
        threshold,
        frames=frames,
        engine_options=engine_options,
    )
    before = _read_older(older, measured["scenario"]) if older else None
    with ExitStack() as outputs:  # what cannot be written is refused before anything is measured
        if output is not None:
            outputs.enter_context(output_file(output, ".json"))
        if figure is not None:
            outputs.enter_context(output_file(figure, ".png", "--figure"))
            require_package("bench --figure", "matplotlib", "evaluate")
        result, samples = _measure(config, **measured)
        if before is not None:
            _compare(before, result, samples)
        _print(result, as_json=as_json)
        if output is not None:
            write_result(output, result, samples)
        if figure is not None:
            _draw(figure, samples)
    check_result(result, limits, allow_unstable=allow_unstable)


def _check(
    uri: str | None, geometry: dict[str, Any], threshold: float | None, **measured: Any
) -> None:
    """Refuse options that need another one, before anything is measured."""
    if uri is not None and not uri.strip():
        raise UsageError("--camera: empty. Give the URI of a video or folder, or leave it out.")
    needs = {
        "geometry options": bool(geometry),
        "--threshold": threshold is not None,
        "--rate": measured["rate_hz"] is not None,
        "--streams": measured["streams"] is not None,
        "--capacity": measured["capacity"],
        "--frames": bool(measured["frames"]),
    }
    lonely = [name for name, given in needs.items() if given]
    if uri is None and lonely:
        raise UsageError(
            f"{', '.join(lonely)}: without --camera only the engine is measured. Give --camera URI "
            "(a video or folder), or leave them out."
        )
    _check_scenario(uri, measured)
    if uri is not None:
        from edge_ad.bench.loop import check_ends

        check_ends(uri)
    if measured["capacity"] and measured["rate_hz"] is None:
        raise UsageError("--capacity needs the rate of a stream. Give --rate, like --rate 30.")
    if measured["latency_ms"] is not None and not measured["capacity"]:
        raise UsageError("--latency-ms is the limit of --capacity. Give both, or neither.")


def _check_scenario(uri: str | None, measured: dict[str, Any]) -> None:
    others = {"--camera": uri is not None} | {
        f"--{name}": bool(measured[name.replace("batch", "batches")])
        for name in ("batch", "roofline", "estimate")
    }
    given = [name for name, there in others.items() if there]
    if measured["scenario"] and given:
        raise UsageError(
            f"{', '.join(given)}: --scenario measures the engine alone, by MLPerf's rules, and "
            "nothing else. Leave one of them out."
        )


def _check_layers(engine: Path, options: EngineOptions, measured: dict[str, Any]) -> None:
    """Refuse to profile layers where ONNX Runtime's profile would be another program's."""
    asked = [f"--{name}" for name in ("roofline", "estimate") if measured[name]]
    if not asked:
        return
    if options.runtime != "onnxruntime" or options.device != "cpu":
        raise UsageError(
            f"{', '.join(asked)}: layers are profiled under ONNX Runtime on the CPU. Leave out "
            "--runtime and --device, or measure without it."
        )
    from edge_ad.bench.roofline import check_profiled

    check_profiled(engine)


def _measure(
    config: LineConfig,
    *,
    batches: tuple[int, ...] | None,
    duration_s: float,
    warmup_ms: float,
    roofline: bool,
    estimate: bool,
    scenario: Literal["single-stream", "multi-stream", "offline"] | None,
    **loop: Any,
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Measure what was asked for, and return the result with the raw samples."""
    from edge_ad.bench.loop import check_judged
    from edge_ad.bench.session import BenchSession

    with config.open_engine() as engine:
        for camera in config.resolve() if config.cameras else ():
            check_judged(camera.uri)
        session = BenchSession(engine, config, duration_s, warmup_ms / 1e3, _show_step)
        if batches:
            session.check_batches(batches)
        if scenario:
            session.run_scenario(scenario)
            return session.finish(), session.samples
        session.time_engine()
        if batches:
            session.sweep_batches(batches)
        if roofline or estimate:
            session.measure_layers(roofline=roofline, estimate=estimate)
        if config.cameras:
            _measure_loop(session, **loop)
        return session.finish(), session.samples


def _show_step(what: str) -> None:
    click.echo(f"measuring {what}", err=True)


def _measure_loop(
    session: BenchSession,
    *,
    rounds: int,
    rate_hz: float | None,
    streams: tuple[int, ...] | None,
    capacity: bool,
    latency_ms: float | None,
) -> None:
    session.time_stages()
    session.time_loop(rounds)
    if rate_hz is not None:
        session.time_at_rate(rate_hz)
    if streams:
        session.sweep_streams(streams)
    if capacity and rate_hz is not None:
        session.find_capacity(rate_hz, latency_ms or 1e3 / rate_hz)


def _read_older(path: Path, scenario: str | None) -> dict[str, Any]:
    from edge_ad.bench.result import check_same_kind, read_result

    before = read_result(path)
    check_same_kind(before, scenario, path)
    return before


def _compare(
    before: dict[str, Any], result: dict[str, Any], samples: dict[str, list[float]]
) -> None:
    from edge_ad.bench.result import compare_results

    changes, doubts = compare_results(before, result, samples)
    result["compared"] = {
        "with": before["conditions"].get("date_utc", ""),
        "changes": [change.as_json() for change in changes],
        "doubts": doubts,
    }


def _draw(path: Path, samples: dict[str, list[float]]) -> None:
    from edge_ad.bench.figure import write_figure

    write_figure(path, samples)


def _print(result: dict[str, Any], *, as_json: bool) -> None:
    from edge_ad.cli.bench_format import format_result

    emit(result) if as_json else click.echo(format_result(result))
