"""`edge-ad calibrate`: make an int8 engine from an fp32 engine and images of good parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.calibration.ranges.methods import method_choices
from edge_ad.cli.bit_depth import bit_depth_option, read_with_depth
from edge_ad.cli.calibrate_format import format_failure, format_nodes, format_result
from edge_ad.cli.labels import labels_options
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.parts import parts_options
from edge_ad.cli.types import NumberRange
from edge_ad.errors import GateFailed, MissingExtra, UsageError
from edge_ad.precision import FLOAT_PRECISIONS

if TYPE_CHECKING:
    from onnx import ModelProto

    from edge_ad.calibration.quantize.config import CalibrationConfig, OnProgress
    from edge_ad.calibration.quantize.pipeline import ToFp16
    from edge_ad.manifest import Manifest
    from edge_ad.precision import Precision

_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(cls=GroupedCommand)
@click.argument("engine", type=_FILE)
@click.option("-o", "--output", type=_FILE, help="Default: ENGINE.int8.onnx.")
@click.option(
    "--target",
    type=click.Choice(["tensorrt", "onnxruntime"]),
    default="onnxruntime",
    show_default=True,
    help="Runtime that will run the file: no Q/DQ file is best for both.",
)
@click.option("--images", type=_FOLDER, help="Images of good parts to take ranges from.")
@click.option(
    "--samples",
    type=click.IntRange(8),
    default=512,
    show_default=True,
    help="Calibration images to draw from --images.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the draw."
)
@click.option(
    "--synthetic-anomalies",
    type=NumberRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of the images that get a synthetic anomaly, for the ranges that defects reach.",
)
@click.option(
    "--method",
    type=click.Choice(method_choices()),
    default="all",
    show_default=True,
    help="Range method; with several the gate chooses.",
)
@click.option("--ranges", type=_FILE, help="Reuse this range table instead of images.")
@click.option("--read-cache", type=_FILE, help="Read ranges from a TensorRT calibration cache.")
@click.option(
    "--write-cache", type=_FILE, help="Write the ranges as such a cache, for older pipelines."
)
@click.option(
    "--cache-version", default="10.3.0", show_default=True, help="TensorRT version of the cache."
)
@click.option("--merge", type=_FILE, multiple=True, help="Merge another range table; repeatable.")
@click.option("--exclude", multiple=True, help="Operator or regex of nodes to keep in float.")
@click.option("--include", multiple=True, help="Operator or regex of nodes to quantize anyway.")
@click.option("--test", type=_FOLDER, help="Labelled images for the gate, in a known layout.")
@labels_options
@click.option(
    "--max-auroc-loss",
    type=NumberRange(0, 1),
    default=0.002,
    show_default=True,
    help="Image AUROC that int8 may lose.",
)
@click.option(
    "--max-pixel-ap-loss",
    type=NumberRange(0, 1),
    default=0.01,
    show_default=True,
    help="Pixel AP that int8 may lose.",
)
@click.option(
    "--no-pixel-limit",
    is_flag=True,
    help="Waive the limit of pixel AP, for labelled images without masks.",
)
@click.option(
    "--precision",
    type=click.Choice(["int8", "auto"]),
    default="int8",
    show_default=True,
    help="auto: measure fp32, fp16 and int8 on this machine, keep the fastest that passes.",
)
@click.option(
    "--margin",
    type=NumberRange(0, 10),
    default=0.05,
    show_default=True,
    help="How much faster than the simpler ones a precision must be, for auto.",
)
@click.option(
    "--float-precision",
    type=click.Choice(FLOAT_PRECISIONS),
    help="Precision of what is not int8. Default: fp16 for TensorRT, fp32 for ONNX Runtime.",
)
@click.option(
    "--no-gate", is_flag=True, help="Write the file without evaluating it; needs one --method."
)
@click.option(
    "--gate-images",
    type=click.IntRange(8),
    default=400,
    show_default=True,
    help="Images that the gate evaluates at most.",
)
@click.option(
    "--no-fall-back", is_flag=True, help="Return no block to float: pass or fail with all in int8."
)
@click.option(
    "--max-float",
    type=NumberRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of the multiplications that may return to float.",
)
@click.option(
    "--sensitivity-images",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="Images that rank the blocks when some must return to float.",
)
@parts_options
@bit_depth_option
@click.option("--resume", is_flag=True, help="Continue an interrupted run.")
@click.option("--list-nodes", is_flag=True, help="Print every node and its rule, and stop.")
@shared
def command(*, engine: Path, output: Path | None, as_json: bool, **options: Any) -> None:
    """Turn ENGINE (fp32 .onnx) into an int8 engine that keeps its accuracy.

    Ranges come from images of good parts. The accuracy gate chooses the range method and the
    layers that stay in float; a file is only written if the gate is passed, otherwise the exit
    code is 4. The int8 engine gets its own threshold with fp32's guarantee, from the parts among
    these images that the detector was not trained on.
    """
    given_depth = options.pop("bit_depth")
    list_nodes, precision = options.pop("list_nodes"), options.pop("precision")
    default = "fp16" if options["target"] == "tensorrt" else "fp32"
    float_precision = options.pop("float_precision") or default
    output = output or engine.with_suffix(".int8.onnx")
    if output.absolute() == engine.absolute():
        raise UsageError(f"-o {output}: this is the fp32 engine itself. Name another file.")
    with output_file(output, ".onnx") as out:
        config = _config(engine, out, options)
        if list_nodes:
            result = _list_nodes(config)
        else:
            _read_with_depth(config, given_depth)
            result = _calibrate(config, precision, float_precision)
    if as_json:
        emit(result)
    else:
        click.echo(format_nodes(result) if list_nodes else format_result(result))
    if not list_nodes and not result["passed"] and precision != "auto":
        raise GateFailed(format_failure(result))


def _config(engine: Path, out: Path, options: dict[str, Any]) -> CalibrationConfig:
    try:
        from edge_ad.calibration.quantize.config import CalibrationConfig
        from edge_ad.calibration.quantize.gate import GateLimits
        from edge_ad.calibration.quantize.rules import PlacementOverrides
    except ModuleNotFoundError as error:
        raise MissingExtra("calibrate", str(error.name), "calibrate") from error
    pixel_ap, waived = options.pop("max_pixel_ap_loss"), options.pop("no_pixel_limit")
    limits = GateLimits(options.pop("max_auroc_loss"), None if waived else pixel_ap)
    overrides = PlacementOverrides(options.pop("exclude"), options.pop("include"))
    return CalibrationConfig(
        engine=engine,
        out=out,
        overrides=overrides,
        limits=limits,
        gate=not options.pop("no_gate"),
        fall_back=not options.pop("no_fall_back"),
        max_float=options.pop("max_float"),
        **options,
    )


def _read_with_depth(config: CalibrationConfig, given: int | None) -> None:
    from edge_ad.dataset import normal_images
    from edge_ad.onnx_graph.index import load_graph

    trained = load_graph(config.engine).manifest.bit_depth
    paths = normal_images(config.images) if config.images and not (trained or given) else ()
    read_with_depth(config.engine, trained, given, paths)


def _calibrate(config: CalibrationConfig, precision: str, float_precision: str) -> dict[str, Any]:
    from edge_ad.calibration.quantize.output import write_calibration
    from edge_ad.calibration.quantize.pipeline import calibrate, delete_unfinished

    with _resume_hint(), _progress() as on_progress:
        others = _other_precisions(config) if precision == "auto" else None
        to_fp16 = _to_fp16(config) if float_precision == "fp16" else None
        result = calibrate(config, on_progress, others, to_fp16)
        report = write_calibration(config, result, on_progress)
        if result.passed:
            delete_unfinished(config)
    for line in (result.dataset_report or {}).get("warnings", []):
        click.echo(f"calibration set: {line}", err=True)
    return report


def _other_precisions(config: CalibrationConfig) -> dict[Precision, ModelProto]:
    """Convert to the other precisions, for `auto`."""
    if config.target != "onnxruntime" or not config.gate:
        raise UsageError(
            "--precision auto measures with ONNX Runtime here and uses the gate: it needs "
            "--target onnxruntime and no --no-gate. For TensorRT the device decides: "
            f"edge-ad build {config.engine} --precision auto"
        )
    from edge_ad.onnx_graph.index import load_graph

    graph = load_graph(config.engine)
    return {"fp16": _to_fp16(config)(graph.model, graph.manifest)}


def _to_fp16(config: CalibrationConfig) -> ToFp16:
    """Return a function that casts to fp16 where the calibration images show it is safe."""
    try:
        from edge_ad.export.comparison_frames import comparison_frames
        from edge_ad.export.fp16.convert import mixed_from_fp32
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "fp16 (--float-precision fp16, --precision auto)", str(error.name), "export"
        ) from error

    def to_fp16(model: ModelProto, manifest: Manifest) -> ModelProto:
        frames = comparison_frames(manifest, config.images, 8)
        return mixed_from_fp32(model, frames.images, manifest).model

    return to_fp16


@contextmanager
def _resume_hint() -> Iterator[None]:
    """Name the way to continue when the user interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("continue with the same command and --resume", err=True)
        raise


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """Yield a callback that shows a progress bar on a terminal, elsewhere a line for each step."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _StepPrinter()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=1)

        def on_progress(step: str, done: int, total: int) -> None:
            if bar.tasks[0].description != step:
                bar.reset(task, description=step)
            bar.update(task, completed=done, total=total)

        yield on_progress


class _StepPrinter:
    """Print one line to stderr for each step."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != self._last:
            click.echo(f"{step} ({total})" if total > 1 else step, err=True)
        self._last = step


def _list_nodes(config: CalibrationConfig) -> dict[str, Any]:
    from dataclasses import asdict

    from edge_ad.calibration.quantize.placement import place, to_quantize
    from edge_ad.onnx_graph.index import load_graph

    graph = to_quantize(load_graph(config.engine), config.target)
    placement = place(graph, config.target, config.overrides)
    return {"type": "nodes", "nodes": [asdict(decision) for decision in placement.decisions]}
