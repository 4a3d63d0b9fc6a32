"""`edge-ad attention`: train EAR's digit attention on images of digits."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.signals import Signals
from edge_ad.cli.types import NumberRange
from edge_ad.errors import MissingExtra

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--digits", type=_FILE, required=True, help="Folder with folders 0 to 9 of images.")
@click.option("-o", "--output", type=_FILE, required=True, help="Weights file, like attention.pt.")
@click.option("--steps", type=click.IntRange(1), default=20000, show_default=True)
@click.option("--batch", type=click.IntRange(1, 4096), default=32, show_default=True)
@click.option("--lr", type=NumberRange(0, min_open=True), default=1e-4, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@shared
def command(*, digits: Path, output: Path, as_json: bool, **settings: Any) -> None:
    """Train the digit classifier whose attention EAR can use to mark pixels.

    The weights are for:

    edge-ad train --method ear --set network.attention=mnist --teacher attention.pt
    """
    stop = threading.Event()
    with output_file(output, ".pt") as out, Signals(stop) as signals:
        result = _train(digits, out, settings, stop)
        if stop.is_set():
            click.echo("interrupted; nothing was written", err=True)
            sys.exit(128 + (signals.received or signal.SIGINT))
    if as_json:
        return emit({"type": "attention", **result})
    click.echo(
        f"{result['weights']}: {result['accuracy']:.1%} of {result['held_back']} held-back digits "
        "recognised\nnext: edge-ad train --method ear --set network.attention=mnist --teacher "
        f"{result['weights']}"
    )


def _train(
    digits: Path, out: Path, settings: dict[str, Any], stop: threading.Event
) -> dict[str, Any]:
    try:
        from edge_ad.methods.ear.digit_training import DigitTrainConfig, learn_digits
    except ImportError as error:
        raise MissingExtra("training", str(error.name), "train") from error
    return learn_digits(
        digits, out, DigitTrainConfig(**settings), stop, lambda text: click.echo(text, err=True)
    )
