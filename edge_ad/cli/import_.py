"""`edge-ad import`: convert foreign checkpoints to weights, and ONNX files to engines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.geometry import shrink_option
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.types import Number, Size
from edge_ad.errors import MissingExtra, UsageError
from edge_ad.geometry import Geometry, Shrink

_CHECKPOINT_SIZE = (256, 256)


class Numbers(click.ParamType[Any]):
    """One number, or three like `0.485,0.456,0.406`, in the order of the colours."""

    name = "A,B,C"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
        try:
            numbers = tuple(float(part) for part in parts)
        except ValueError:
            numbers = ()
        if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
            self.fail(f"expected one number, or three like 0.485,0.456,0.406; got '{value}'")
        return numbers


@click.command(cls=GroupedCommand)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option(
    "--size",
    type=Size(),
    help="Network input. Default: the ONNX file's own, 256x256 for checkpoints.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="Images a call, for an ONNX file that takes any number. Default: any number.",
)
@click.option(
    "--adapter",
    help="Input format of an ONNX file: anomalib, or see the options below.",
)
@click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="Default: by its shape.")
@click.option("--color", type=click.Choice(["rgb", "bgr"]), help="Of an ONNX file's input.")
@click.option("--scale", type=Number(), help="Factor on values of 0 to 255, like 0.00392157.")
@click.option("--mean", type=Numbers(), help="Subtracted from the scaled values.")
@click.option("--std", type=Numbers(), help="The scaled values are divided by it.")
@click.option("--map-output", help="Name of an ONNX file's map output.")
@click.option("--score-output", help="Name of its score output; max: the map's maximum.")
@shrink_option
@shared
def command(
    *,
    files: tuple[Path, ...],
    output: Path,
    size: tuple[int, int] | None,
    batch: int | None,
    adapter: str | None,
    shrink: Shrink,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn FILES made elsewhere into weights (.pt), or an ONNX file into an engine (.onnx).

    Known checkpoints are DRAEM (two files) and DeSTSeg as their authors' code saves them, and
    anomalib's DRAEM and FastFlow; FastFlow becomes CL-Flow (reconstructed), whose base it is. They
    are recognised by their parameters, and tensors alone are read, never code.

    An ONNX file needs --adapter anomalib, or what it does not say itself: the scaling of its
    input, and which output is the map. It is brought to one form and compared with before.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if any(path.suffix == ".onnx" for path in files):
        result = _adapt(files, output, size, batch, adapter, {**given, "shrink": shrink})
    elif adapter or given or batch:
        raise UsageError(
            "--adapter, --batch and the options for inputs and outputs are for ONNX files."
        )
    else:
        with output_file(output, ".pt") as out:
            result = _import(files, out, size or _CHECKPOINT_SIZE, shrink)
    emit(result) if as_json else click.echo(_format(result))


def _adapt(
    files: tuple[Path, ...],
    output: Path,
    size: tuple[int, int] | None,
    batch: int | None,
    name: str | None,
    given: dict[str, Any],
) -> dict[str, Any]:
    try:
        from edge_ad.export.adapter import ADAPTERS, Adapter, adapt_onnx
    except ImportError as error:
        raise MissingExtra("importing ONNX files", str(error.name), "export") from error
    if len(files) != 1:
        raise UsageError(f"one ONNX file at a time, got {len(files)} files.")
    if name is not None and name not in ADAPTERS:
        raise UsageError(f"no adapter '{name}'; expected one of: {', '.join(ADAPTERS)}.")
    if 0.0 in given.get("std", ()):
        raise UsageError("--std: values are divided by it, so it cannot be 0.")
    base = ADAPTERS[name] if name else Adapter()
    if given.get("score_output") == "max":
        given["score_output"] = None
    fields = {field: getattr(base, field) for field in Adapter.__slots__}
    with output_file(output, ".onnx") as out:
        return adapt_onnx(files[0], out, Adapter(**{**fields, **given}), size, batch)


def _import(
    files: tuple[Path, ...], out: Path, size_hw: tuple[int, int], shrink: Shrink
) -> dict[str, Any]:
    try:
        from edge_ad.methods.foreign import import_checkpoint
    except ImportError as error:
        raise MissingExtra("importing checkpoints", str(error.name), "train") from error
    from edge_ad.files import sha256_of
    from edge_ad.manifest import Manifest, Provenance
    from edge_ad.methods.method import load_method
    from edge_ad.methods.registry import title_of
    from edge_ad.methods.weights import save_detector

    checkpoint = import_checkpoint(files, size_hw)
    notes = {"method": title_of(checkpoint.method), "imported from": checkpoint.origin}
    manifest = Manifest(
        method=checkpoint.method,
        size_hw=checkpoint.size_hw,
        geometry=Geometry(shrink=shrink),
        score=load_method(checkpoint.method).score(checkpoint.config, checkpoint.size_hw),
        provenance=Provenance(parent_sha256=sha256_of(files), notes=notes),
    )
    save_detector(out, checkpoint.module, manifest, checkpoint.config)
    return {
        "type": "import",
        "weights": str(out),
        "method": checkpoint.method,
        "title": title_of(checkpoint.method),
        "origin": checkpoint.origin,
        "size_hw": list(checkpoint.size_hw),
        "parameters": sum(p.numel() for p in checkpoint.module.parameters()),
        "config": checkpoint.config.model_dump(mode="json"),
    }


def _format(result: dict[str, Any]) -> str:
    if "engine" in result:
        height, width = result["size_hw"]
        batch = f"{result['batch']} a call" if result["batch"] else "any number a call"
        size = f"{height}x{width} (height x width)"
        lines = [f"{result['engine']}: {size}, {batch}, from {result['origin']}"]
        lines += [f"  {change}" for change in result["changes"]]
        lines += [f"next: edge-ad threshold {result['engine']} --images GOOD_DIR"]
        return "\n".join(lines)
    return (
        f"{result['weights']}: {result['title']} of {result['origin']}, "
        f"{result['parameters'] / 1e6:.2f} M parameters\n"
        f"next: edge-ad export {result['weights']}"
    )
