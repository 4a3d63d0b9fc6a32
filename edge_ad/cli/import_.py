"""`edge-ad import`: checkpoints that others trained become weights of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.size import Size
from edge_ad.errors import MissingExtra


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option("--size", type=Size(), default="256x256", show_default=True, help="Network input.")
@shared
def command(*, files: tuple[Path, ...], output: Path, size: tuple[int, int], as_json: bool) -> None:
    """Turn FILES, a checkpoint trained elsewhere, into weights (.pt) for edge-ad.

    Known are DRAEM (two files) and DeSTSeg as their authors' code saves them, and anomalib's DRAEM
    and FastFlow checkpoints; FastFlow becomes CL-Flow (reconstructed), whose base it is. Files are
    recognised by their parameters. Tensors alone are read, never code.
    """
    with output_file(output, ".pt") as out:
        result = _import(files, out, size)
    if as_json:
        return emit(result)
    click.echo(
        f"{result['weights']}: {result['title']} of {result['origin']}, "
        f"{result['parameters'] / 1e6:.2f} M parameters\n"
        f"next: edge-ad export {result['weights']}"
    )


def _import(files: tuple[Path, ...], out: Path, size_hw: tuple[int, int]) -> dict[str, Any]:
    try:
        from edge_ad.models.foreign import import_checkpoint
    except ImportError as error:
        raise MissingExtra("importing checkpoints", str(error.name), "train") from error
    from edge_ad.files import sha256_of
    from edge_ad.manifest import Manifest, Provenance
    from edge_ad.models.catalogue import titled
    from edge_ad.models.method import method_named
    from edge_ad.models.weights import save_detector

    got = import_checkpoint(files, size_hw)
    notes = {"method": titled(got.method), "imported from": got.origin}
    manifest = Manifest(
        method=got.method,
        size_hw=got.size_hw,
        score=method_named(got.method).score(got.config),
        provenance=Provenance(parent_sha256=sha256_of(files), notes=notes),
    )
    save_detector(out, got.module, manifest, got.config)
    return {
        "type": "import",
        "weights": str(out),
        "method": got.method,
        "title": titled(got.method),
        "origin": got.origin,
        "size_hw": list(got.size_hw),
        "parameters": sum(p.numel() for p in got.module.parameters()),
        "config": got.config.model_dump(mode="json"),
    }
