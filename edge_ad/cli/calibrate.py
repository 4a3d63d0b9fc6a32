"""`edge-ad calibrate`: an fp32 engine and images of good parts become an int8 engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.types import NumberRange
from edge_ad.errors import GateFailed, MissingExtra, UsageError
from edge_ad.precision import FLOAT_PRECISIONS

if TYPE_CHECKING:
    from onnx import ModelProto

    from edge_ad.calibration.quantize.config import CalibrationConfig, OnProgress
    from edge_ad.calibration.quantize.pipeline import CalibrationResult, ToFp16
    from edge_ad.manifest import Manifest
    from edge_ad.precision import Precision

_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_METHODS = ("minmax", "percentile", "percentile-99.9", "percentile-99.99", "percentile-99.999",
            "mse", "entropy", "all")  # fmt: skip


@click.command()
@click.argument("engine", type=_FILE)
@click.option("-o", "--output", type=_FILE, help="Default: ENGINE.int8.onnx.")
@click.option(
    "--target",
    type=click.Choice(["tensorrt", "onnxruntime"]),
    default="onnxruntime",
    show_default=True,
    help="What will run the file: one Q/DQ file is not best for both.",
)
@click.option("--images", type=_FOLDER, help="Images of good parts to take ranges from.")
@click.option("--samples", type=click.IntRange(8), default=512, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--synthetic-defects",
    type=NumberRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of the images that get synthetic damage, for the ranges defects excite.",
)
@click.option("--method", type=click.Choice(_METHODS), default="all", show_default=True)
@click.option("--ranges", type=_FILE, help="Use this range table again instead of images.")
@click.option("--read-cache", type=_FILE, help="Ranges from a TensorRT calibration cache.")
@click.option("--write-cache", type=_FILE, help="Write the ranges as one, for old pipelines.")
@click.option("--cache-version", default="10.3.0", show_default=True, help="Its TensorRT version.")
@click.option("--merge", type=_FILE, multiple=True, help="Join another range table; repeats.")
@click.option("--exclude", multiple=True, help="Operator or regex of nodes to keep in float.")
@click.option("--include", multiple=True, help="Operator or regex of nodes to quantize anyway.")
@click.option("--test", type=_FOLDER, help="Labelled images (MVTec AD's layout) for the gate.")
@click.option("--max-auroc-loss", type=NumberRange(0, 1), default=0.002, show_default=True)
@click.option("--max-pixel-ap-loss", type=NumberRange(0, 1), default=0.01, show_default=True)
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
    help="By how much a precision must be faster than the simpler ones, for auto.",
)
@click.option(
    "--rest",
    type=click.Choice(FLOAT_PRECISIONS),
    help="Precision of what is not int8. Default: fp16 for TensorRT, fp32 for ONNX Runtime.",
)
@click.option("--no-gate", is_flag=True, help="Write the file unexamined; needs one --method.")
@click.option("--gate-images", type=click.IntRange(8), default=400, show_default=True)
@click.option("--no-fall-back", is_flag=True, help="Return no block to float; pass or fail.")
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
@click.option("--resume", is_flag=True, help="Go on where an interrupted run was.")
@click.option("--list-nodes", is_flag=True, help="Print every node and its rule, and stop.")
@shared
def command(*, engine: Path, output: Path | None, as_json: bool, **options: Any) -> None:
    """Turn ENGINE (fp32 .onnx) into an int8 engine that lost nothing that matters.

    Ranges come from images of good parts, the method and the layers left in float from what the
    gate measures; a file is only written when the gate is passed, otherwise exit code 4.
    """
    listing, precision = options.pop("list_nodes"), options.pop("precision")
    rest = options.pop("rest") or ("fp16" if options["target"] == "tensorrt" else "fp32")
    output = output or engine.with_suffix(".int8.onnx")
    if output.absolute() == engine.absolute():
        raise UsageError(f"-o {output}: that is the fp32 engine itself. Name another file.")
    with output_file(output, ".onnx") as out:
        order = _order(engine, out, options)
        result = _nodes(order) if listing else _calibrate(order, precision, rest)
    if as_json:
        emit(result)
    else:
        click.echo(_listed(result) if listing else _told(result))
    if not listing and not result["passed"] and precision != "auto":
        raise GateFailed(_failure(result))


def _order(engine: Path, out: Path, options: dict[str, Any]) -> CalibrationConfig:
    try:
        from edge_ad.calibration.quantize.config import CalibrationConfig
        from edge_ad.calibration.quantize.gate import GateLimits
        from edge_ad.calibration.quantize.placement import PlacementOverrides
    except ModuleNotFoundError as error:
        raise MissingExtra("calibrate", str(error.name), "calibrate") from error
    limits = GateLimits(options.pop("max_auroc_loss"), options.pop("max_pixel_ap_loss"))
    wanted = PlacementOverrides(options.pop("exclude"), options.pop("include"))
    return CalibrationConfig(
        engine=engine,
        out=out,
        wanted=wanted,
        limits=limits,
        synthetic=options.pop("synthetic_defects"),
        gate=not options.pop("no_gate"),
        fall_back=not options.pop("no_fall_back"),
        most_float=options.pop("max_float"),
        **options,
    )


def _calibrate(order: CalibrationConfig, precision: str, rest: str) -> dict[str, Any]:
    from edge_ad.calibration.quantize.html import write_page
    from edge_ad.calibration.quantize.pipeline import calibrate
    from edge_ad.calibration.quantize.report import report_of, save_report

    with _told_how_to_go_on(), _progress() as tell:
        rivals = _rivals(order) if precision == "auto" else None
        outcome = calibrate(order, tell, rivals, _to_half(order) if rest == "fp16" else None)
        tell("measuring speed", 0, 1)
        report = report_of(order, outcome)
        write_page(report, outcome, save_report(report, order).with_suffix(".html"))
    _warn(outcome)
    return report


def _rivals(order: CalibrationConfig) -> dict[Precision, ModelProto]:
    """The other precisions, for `auto`."""
    if order.target != "onnxruntime" or not order.gate:
        raise UsageError(
            "--precision auto measures with ONNX Runtime here and judges by the gate: it needs "
            "--target onnxruntime and no --no-gate. For TensorRT the device decides: "
            f"edge-ad build {order.engine} --precision auto"
        )
    from edge_ad.onnx_graph.index import load_graph

    graph = load_graph(order.engine)
    return {"fp16": _to_half(order)(graph.model, graph.manifest)}


def _to_half(order: CalibrationConfig) -> ToFp16:
    """Casts to fp16 what the calibration images, or generated ones, show to be safe."""
    try:
        from edge_ad.export.comparison_frames import comparison_frames
        from edge_ad.export.fp16.convert import mixed_from_fp32
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "fp16 (--rest fp16, --precision auto)", str(error.name), "export"
        ) from error

    def to_half(model: ModelProto, manifest: Manifest) -> ModelProto:
        return mixed_from_fp32(
            model, comparison_frames(manifest, order.images, 8).images, manifest
        ).model

    return to_half


@contextmanager
def _told_how_to_go_on() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("go on with the same command and --resume", err=True)
        raise


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A bar with the time left on a terminal's stderr; elsewhere a line when the work changes."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=1)

        def tell(what: str, done: int, total: int) -> None:
            if bar.tasks[0].description != what:
                bar.reset(task, description=what)
            bar.update(task, completed=done, total=total)

        yield tell


class _Lines:
    """One line on stderr for each kind of work."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._last:
            click.echo(f"{what} ({total})" if total > 1 else what, err=True)
        self._last = what


def _warn(outcome: CalibrationResult) -> None:
    for line in (outcome.dataset_report or {}).get("warnings", []):
        click.echo(f"calibration set: {line}", err=True)


def _nodes(order: CalibrationConfig) -> dict[str, Any]:
    from dataclasses import asdict

    from edge_ad.calibration.quantize.placement import place
    from edge_ad.onnx_graph.index import load_graph

    placement = place(load_graph(order.engine), order.target, order.wanted)
    return {"type": "nodes", "nodes": [asdict(decision) for decision in placement.decisions]}


def _listed(result: dict[str, Any]) -> str:
    rows = [
        (("int8" if node["int8"] else "float"), node["op"], node["node"], node["rule"])
        for node in result["nodes"]
    ]
    return "\n".join(f"{kind:6}{op:20}{name:32}{rule}" for kind, op, name, rule in rows)


def _told(result: dict[str, Any]) -> str:
    gate, speed = result["gate"], result["speed"]
    lines = [
        f"{result['engine'] or 'no engine written'}: {result['method']}, "
        f"{result['int8_nodes']} of {len(result['nodes'])} nodes in int8"
    ]
    if result["contest"]:
        lines.append(_winner(result["contest"], result["fp32"]))
    if gate:
        lines.append(f"gate on {gate['normal']} normal and {gate['anomalous']} anomalous images:")
        lines += [f"  {name} lost {loss:+.4f}" for name, loss in gate["losses"].items()]
    if result["float_blocks"]:
        lines.append(f"returned to float: {', '.join(result['float_blocks'])}")
    if speed:
        lines.append(
            f"here: fp32 {speed['fp32_ms']:.1f} ms, int8 {speed['int8_ms']:.1f} ms an image, "
            f"{speed['times_faster']:.2f} times the throughput"
        )
    if gate and gate["alarms"]:
        lines.append(
            f"  {gate['alarms']['false_alarms']} false alarms, {gate['alarms']['flips']} verdicts "
            "other than fp32's, each at its own threshold"
        )
    if result["compiled"]:
        counts = result["compiled"]["layers"]
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        lines.append(f"TensorRT-RTX compiles it to: {told}")
    return "\n".join([*lines, f"ranges: {result['ranges']}"])


def _winner(contest: dict[str, Any], fp32: str) -> str:
    times = ", ".join(
        f"{one['precision']} {one['ms']:.1f} ms" + ("" if one["passed"] else " (fails the gate)")
        for one in contest["contenders"]
    )
    deploy = {
        "int8": f"{contest['times_faster_than_fp32']:.2f} times fp32, deploy the int8 file",
        "fp16": f"int8 is not worth it here: edge-ad convert {fp32} --precision fp16",
        "fp32": f"int8 is not worth it here: deploy {fp32}",
    }
    return f"an image takes {times}: {deploy[contest['winner']]}"


def _failure(result: dict[str, Any]) -> str:
    return (
        f"no int8 engine of {result['fp32']} passes the gate. The best found ({result['method']}, "
        f"{len(result['float_blocks'])} blocks in float): {'; '.join(result['gate']['failures'])}. "
        "Allow more layers in float with --max-float, a larger loss with --max-auroc-loss or "
        "--max-pixel-ap-loss (with --resume, what was measured is not measured again), or deploy "
        "fp16."
    )
