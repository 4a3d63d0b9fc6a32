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
    from edge_ad.export.plan.progress import OnProgress


class Profile(click.ParamType[Any]):
    """Images a call as `least:usual:most`, or one number for all three."""

    name = "min:opt:max"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int]:
        parts = str(value).split(":")
        if len(parts) not in (1, 3) or not all(part.isdecimal() for part in parts):
            self.fail(
                f"expected images a call like 4, or least:usual:most like 1:4:8; got '{value}'"
            )
        least, usual, most = (int(part) for part in (parts if len(parts) == 3 else parts * 3))
        if not 1 <= least <= usual <= most:
            self.fail(f"expected 1 <= least <= usual <= most; got '{value}'")
        return (least, usual, most)


class Capability(click.ParamType[Any]):
    """A compute capability like `8.9`."""

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
    "GPU, keep the fastest whose output matches. By default precision is the file's own.",
)
@click.option(
    "--batch", type=Profile(), help="Images a call, for graphs exported with --dynamic-batch."
)
@click.option("--workspace-mib", type=click.IntRange(1), help="Scratch memory a layer may use.")
@click.option("--optimization-level", type=click.IntRange(0, 5), help="Longer search, faster plan.")
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path),
    help="File, or folder, that keeps kernel timings for the next build; one a version and GPU.",
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
    help="Run on other GPUs than this one, somewhat slower.",
)
@click.option("--dla", "dla_core", type=click.IntRange(0), help="DLA core of a Jetson.")
@click.option(
    "--compute-capability",
    "compute_capabilities",
    type=Capability(),
    multiple=True,
    help="GPU TensorRT-RTX builds for, like 8.9; repeatable. Default: 8.0 and later.",
)
@shared
def command(
    *, as_json: bool, onnx: Path, output: Path | None, precision: str | None, **options: Any
) -> None:
    """Compile an ONNX engine to a TensorRT plan.

    Precision is the ONNX file's own. The plan is pure TensorRT, so other tools open it; a sidecar
    beside it records what it expects and where it runs, and is checked before it is loaded.
    """
    from edge_ad.export.plan.build import build_plan

    plan = output or onnx.with_suffix(".plan")
    if precision == "auto":
        result, text = _auto(onnx, plan, options)
    else:
        with _progress() as on_progress:
            built = build_plan(onnx, plan, on_progress=on_progress, **_build_arguments(options))
        result, text = _result(built), _summary(built)
    emit(result) if as_json else click.echo(text)


def _build_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of `build_plan`."""
    from edge_ad.plan_record import BuildOptions

    others = {name: options.pop(name) for name in ("runtime", "timing_cache")}
    return {"options": BuildOptions(**options), **others}


def _auto(onnx: Path, plan: Path, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Build the fastest plan, and return the result as JSON and as text."""
    from edge_ad.export.plan.auto import build_fastest, check_can_measure, find_precisions

    files = find_precisions(onnx)
    check_can_measure(onnx)
    with output_file(plan, ".plan"), _progress() as on_progress:
        built, comparison = build_fastest(
            files, plan, on_progress=on_progress, **_build_arguments(options)
        )
    result = _result(built)
    result["comparison"] = comparison.as_json() | {"missing": list(files.missing)}
    return result, "\n".join([_summary(built), str(comparison), *files.missing])


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """Show a bar on stderr that follows TensorRT's phases; nothing without a terminal or rich."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:  # optional on a device
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
        "build": build.to_dict(),
        "threshold": built.sidecar.threshold is not None,
        "notes": list(built.notes),
    }


def _summary(built: BuiltPlan) -> str:
    from edge_ad.plan_record import NAMES

    build, manifest = built.sidecar.build, built.sidecar.manifest
    assert build is not None and manifest is not None
    size = f"{build.plan_bytes / (1 << 20):.1f} MiB"
    text = f"{built.plan}: {manifest.method} {manifest.precision}, {size}, by "
    text += f"{NAMES[build.runtime]} {build.version} in {built.seconds:.1f} s"
    return "\n".join([text, *built.notes])
