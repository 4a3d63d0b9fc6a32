"""`edge-ad export-triton`: write a model repository of Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared


@click.command()
@click.argument(
    "engines", metavar="ENGINE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--repository",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the server's models.",
)
@click.option("--name", help="Name of the model [default: that of the engine].")
@click.option("--model-version", "version", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--image", type=click.Path(path_type=Path, dir_okay=False), help="Image of a part to warm up."
)
@click.option(
    "--max-batch",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    help="Images a call, of graphs that take any number.",
)
@click.option(
    "--queue-delay-us",
    type=click.IntRange(0, 1_000_000),
    default=0,
    show_default=True,
    help="How long the server waits for images of other clients.",
)
@click.option(
    "--instances", type=click.IntRange(1, 64), default=1, show_default=True, help="Per device."
)
@click.option(
    "--gpu", "gpus", type=click.IntRange(0), multiple=True, help="GPU to run on; repeats."
)
@click.option("--overwrite", is_flag=True, help="Replace a model of the same name.")
@shared
def command(*, engines: tuple[Path, ...], name: str | None, as_json: bool, **given: Any) -> None:
    """Write an engine (.onnx, .plan) as a model of NVIDIA's Triton Inference Server.

    The configuration is checked against NVIDIA's schema. Threshold and geometry travel in it: lines
    run against the server with `--engine triton://HOST:8000/NAME`. Several plans are one graph
    built for GPUs of different compute capability; the server takes the one for its GPU.
    """
    from edge_ad.cli.output import check_writable
    from edge_ad.errors import OutletLost
    from edge_ad.export.triton import TritonConfig, export_triton

    name = name or engines[0].name.split(".")[0]
    check_writable(given["repository"] / name / "config.pbtxt")
    try:
        result = export_triton(engines, TritonConfig(name=name, **given))
    except OSError as error:
        raise OutletLost(
            f"{given['repository']}: cannot be written ({error.strerror or error})."
        ) from error
    if as_json:
        return emit({"type": "export-triton"} | result)
    batch = f"up to {result['max_batch']} images a call" if result["max_batch"] else "fixed batch"
    click.echo(f"{result['model']}: {result['backend']}, {batch}, {', '.join(result['files'])}")
    if result["warm_up"] == "random":
        click.echo("It warms up on random values; with --image on an image of a part.")
    if result["threshold"] is None:
        click.echo("The engine has no threshold: lines need --threshold, or set one and export.")
    click.echo(f"Lines run it with: --engine triton://HOST:8000/{result['name']}")
