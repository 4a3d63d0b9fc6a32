"""`edge-ad threshold`: where the line rejects, from pictures of good parts alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.engine import engine_options, engine_options_from
from edge_ad.cli.geometry import geometry_from, geometry_options
from edge_ad.cli.options import emit, shared

if TYPE_CHECKING:
    from edge_ad.calibration.threshold import GoodScores, Promise
    from edge_ad.frame import Image
    from edge_ad.manifest import Threshold

_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command()
@click.argument("engine", type=click.Path(path_type=Path))
@click.option(
    "--images",
    "uri",
    required=True,
    metavar="GOOD_DIR",
    help="Folder of good pictures, or any source of `run`: a video, a camera.",
)
@click.option(
    "--false-alarm-rate",
    default=0.001,
    show_default=True,
    type=_SHARE,
    help="Share of good frames that may be rejected.",
)
@click.option(
    "--confidence",
    default=0.95,
    show_default=True,
    type=_SHARE,
    help="Probability that the promise holds.",
)
@click.option("--at-best", is_flag=True, help="Take the nearest rate that the pictures support.")
@geometry_options
@engine_options
@shared
def command(
    *,
    engine: Path,
    uri: str,
    false_alarm_rate: float,
    confidence: float,
    at_best: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Set an engine's thresholds from good pictures and store them beside it.

    The promise is distribution-free: of future good frames, independent and like the pictures, at
    most --false-alarm-rate score above the threshold, with probability --confidence.
    """
    from edge_ad.calibration.threshold import (
        Promise,
        best_promise,
        images_needed,
        score_good,
        supported_rate,
        threshold_for,
    )  # fmt: skip
    from edge_ad.engine import open_engine
    from edge_ad.files import sha256_of
    from edge_ad.manifest import set_threshold

    asked = Promise(false_alarm_rate, confidence)
    paths = _pictures(uri)
    with open_engine(engine, **engine_options_from(options)) as loaded:
        geometry = geometry_from(options, loaded.manifest.geometry)
        scores = score_good(loaded, _images(uri, paths), geometry)
    promise = best_promise(len(scores.image), asked) if at_best else asked
    threshold = threshold_for(scores, promise, sha256_of(paths))
    sidecar = set_threshold(engine, threshold)
    result = {"type": "threshold", "engine": str(engine), "sidecar": str(sidecar)}
    result |= threshold.model_dump() | {
        "asked_rate": asked.rate,
        "needed": images_needed(asked),
        "supported_rate": supported_rate(len(scores.image), confidence),
        "near_duplicates": len(scores.repeats),
    }
    if as_json:
        emit(result)
    else:
        click.echo(_words(threshold, asked, sidecar))
    _warn_of_repeats(scores)


def _pictures(uri: str) -> list[Path]:
    """The picture files of a folder; empty for a video or camera."""
    from edge_ad.dataset import good_images

    return good_images(Path(uri)) if Path(uri).is_dir() else []


def _images(uri: str, paths: list[Path]) -> Iterator[tuple[str, Image]]:
    from edge_ad.dataset import readable
    from edge_ad.frame import Frame
    from edge_ad.source import open_source

    if paths:
        yield from ((path.name, image) for path, image in readable(paths))
        return
    with open_source(uri) as source:
        for grab in source:
            if isinstance(grab, Frame):
                yield f"frame {grab.index}", grab.image


def _words(threshold: Threshold, asked: Promise, sidecar: Path) -> str:
    settled = (
        "" if threshold.false_alarm_rate == asked.rate
        else f"\n(asked was {asked.rate:g}; this is the nearest that the pictures support)"
    )  # fmt: skip
    return (
        f"threshold {threshold.image:.6g} for images, {threshold.pixel:.6g} for pixels\n"
        f"At most {threshold.false_alarm_rate:.3g} of good frames like these {threshold.images} "
        f"pictures will be rejected, with confidence {threshold.confidence:g}.{settled}\n"
        f"Stored in {sidecar}."
    )


def _warn_of_repeats(scores: GoodScores) -> None:
    if not scores.repeats:
        return
    some = ", ".join(f"{name} repeats {twin}" for name, twin in scores.repeats[:3])
    click.echo(
        f"{len(scores.repeats)} near-duplicates were not counted, since they promise nothing new: "
        f"{some}{' ...' if len(scores.repeats) > 3 else ''}", err=True,
    )  # fmt: skip
