"""`edge-ad samples`: the images that a line has kept for the next training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared

_KINDS = ("reject", "borderline", "random")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(_KINDS), help="Of this kind; repeats."
)
@click.option("--marked", is_flag=True, help="Of parts that somebody has marked.")
@shared
def command(*, folder: Path, kinds: tuple[str, ...], marked: bool, as_json: bool) -> None:
    """List the images kept for training by `edge-ad run --keep-samples-mib`."""
    from edge_ad.store.samples import read_samples

    samples = read_samples(folder, kinds, marked=marked)
    if as_json:
        emit({"type": "samples", "folder": str(folder), "samples": samples})
        return
    for sample in samples:
        click.echo(_line(sample))
    total = sum(sample["bytes"] for sample in samples)
    click.echo(f"{len(samples)} images, {total / 2**20:.1f} MiB", err=True)


def _line(sample: dict[str, Any]) -> str:
    mark = f"  [{sample['marked']}]" if sample["marked"] else ""
    score = f"{sample['score']:.4g} / {sample['threshold']:.4g}"
    return f"{sample['file']}  {sample['camera']}  {sample['kind']}  score {score}{mark}"
