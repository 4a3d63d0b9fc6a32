"""`edge-ad build`: compile an ONNX engine for TensorRT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file

if TYPE_CHECKING:
    from edge_ad.export.plan.build import BuiltPlan
    from edge_ad.export.plan.progress import Report


class Profile(click.ParamType[Any]):
    """`least:usual:most`, or one number for all three."""

    name = "min:opt:max"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int]:
        words = str(value).split(":")
        if len(words) not in (1, 3) or not all(word.isdecimal() for word in words):
            self.fail(
                f"expected images a call like 4, or least:usual:most like 1:4:8; got '{value}'"
            )
        least, usual, most = (int(word) for word in (words if len(words) == 3 else words * 3))
        if not 1 <= least <= usual <= most:
            self.fail(f"expected 1 <= least <= usual <= most; got '{value}'")
        return (least, usual, most)


class Capability(click.ParamType[Any]):
    """`8.9`"""

    name = "X.Y"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        major, _, minor = str(value).partition(".")
        if not (major.isdecimal() and minor.isdecimal() and len(minor) == 1):
            self.fail(f"expected a compute capability like 8.9; got '{value}'")
        return str(value)


@click.command()
@click.argument("onnx", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Plan to write; by default beside the ONNX file.",
)
@click.option(
    "--runtime",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    help="Which TensorRT builds and will run the plan; by default the one installed.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto"]),
    help="auto: build ONNX and the .fp16.onnx and .int8.onnx beside it, measure them on this "
    "card, keep the fastest that answers alike. Otherwise precision is the file's own.",
)
@click.option(
    "--batch", type=Profile(), help="Images a call, for graphs exported with --dynamic-batch."
)
@click.option("--workspace-mib", type=click.IntRange(1), help="Scratch memory a layer may use.")
@click.option("--optimization-level", type=click.IntRange(0, 5), help="Search longer, run faster.")
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path),
    help="File, or folder, that keeps kernel timings for the next build; one a version and card.",
)
@click.option(
    "--tf32", is_flag=True, help="Let fp32 layers multiply with 10 bits: faster, less exact."
)
@click.option(
    "--version-compatible",
    is_flag=True,
    help="Load in newer TensorRT too; the plan then carries code and needs --trust-host-code.",
)
@click.option(
    "--hardware-compatible",
    type=click.Choice(["ampere-plus", "same-compute-capability"]),
    is_flag=False,
    flag_value="ampere-plus",
    help="Run on other cards than this one, somewhat slower.",
)
@click.option("--dla", "dla_core", type=click.IntRange(0), help="DLA core of a Jetson.")
@click.option(
    "--compute-capability",
    "compute_capabilities",
    type=Capability(),
    multiple=True,
    help="Card TensorRT-RTX builds for, like 8.9; repeats. Default: 8.0 and later.",
)
@shared
def command(
    *, as_json: bool, onnx: Path, output: Path | None, precision: str | None, **options: Any
) -> None:
    """Compile an ONNX engine to a TensorRT plan.

    Precision is the ONNX file's own. The plan is pure TensorRT, so other tools open it; what it
    expects and where it runs is written beside it, and checked before it is loaded.
    """
    from edge_ad.export.plan.build import build_plan

    plan = output or onnx.with_suffix(".plan")
    if precision == "auto":
        result, words = _auto(onnx, plan, options)
    else:
        with _progress() as report:
            built = build_plan(onnx, plan, report=report, **_wishes(options))
        result, words = _result(built), _summary(built)
    emit(result) if as_json else click.echo(words)


def _wishes(options: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `build_plan`."""
    from edge_ad.plan_record import BuildOptions

    places = {name: options.pop(name) for name in ("runtime", "timing_cache")}
    return {"options": BuildOptions(**options), **places}


def _auto(onnx: Path, plan: Path, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The fastest plan, as JSON and in words."""
    from edge_ad.export.plan.auto import build_fastest, candidates, check_can_measure

    found = candidates(onnx)
    check_can_measure(onnx)
    with output_file(plan, ".plan"), _progress() as report:
        built, race = build_fastest(found, plan, report=report, **_wishes(options))
    result = _result(built) | {"contest": race.as_json() | {"missing": list(found.missing)}}
    return result, "\n".join([_summary(built), str(race), *found.missing])


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar on stderr that follows TensorRT's phases; without a terminal or rich, nothing."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:  # a device may do without
        yield lambda share, phase: None
        return

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("Building", total=1.0)
        yield lambda share, phase: bar.update(task, completed=share, description=phase)


def _result(built: BuiltPlan) -> dict[str, Any]:
    build = built.sidecar.build
    assert build is not None
    return {
        "type": "build",
        "plan": str(built.plan),
        "seconds": round(built.seconds, 3),
        "sha256": built.sidecar.engine_sha256,
        "build": build.model_dump(mode="json"),
        "threshold": built.sidecar.threshold is not None,
        "notes": list(built.notes),
    }


def _summary(built: BuiltPlan) -> str:
    from edge_ad.plan_record import NAMES

    build, manifest = built.sidecar.build, built.sidecar.manifest
    assert build is not None and manifest is not None
    size = f"{build.plan_bytes / (1 << 20):.1f} MiB"
    words = f"{built.plan}: {manifest.method} {manifest.precision}, {size}, by "
    words += f"{NAMES[build.runtime]} {build.version} in {built.seconds:.1f} s"
    return "\n".join([words, *built.notes])
