"""`edge-ad threshold`: where the line rejects, from images of good parts alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.options import emit, shared
from edge_ad.cli.types import NumberRange

if TYPE_CHECKING:
    from edge_ad.calibration.thresholds.estimate import Guarantee, NormalScores
    from edge_ad.calibration.thresholds.images import ImageFolder, SourceFrames
    from edge_ad.frame import Image
    from edge_ad.manifest import Threshold

_SHARE = NumberRange(0, 1, min_open=True, max_open=True)


@click.command()
@click.argument("engine", type=click.Path(path_type=Path))
@click.option(
    "--images",
    "uri",
    required=True,
    metavar="GOOD_DIR",
    help="Folder of good images, or any source of `run`: a video, a camera.",
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
@click.option("--at-best", is_flag=True, help="Take the nearest rate that the images support.")
@click.option("--frames", type=click.IntRange(1), help="Stop after so many frames of a source.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the scores to this PNG file.")
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
    frames: int | None,
    plot: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Set an engine's thresholds from good images and store them beside it.

    The promise needs no law of the scores: of future good frames, independent and like the
    images, at most --false-alarm-rate score above the threshold, with probability --confidence.
    The same holds, by itself, for the pixel threshold and a map's highest value. What lies exactly
    at a threshold passes. Near-duplicates count once.
    """
    from edge_ad.calibration.thresholds.estimate import (
        Guarantee,
        best_guarantee,
        score_normal,
        threshold_for,
    )
    from edge_ad.engine import open_engine

    _refuse_early(engine, plot)
    asked = Guarantee(false_alarm_rate, confidence)
    images = _images(uri, frames)
    with open_engine(engine, options["engine_options"]) as loaded:
        manifest = loaded.manifest
        geometry = manifest.geometry.changed(options["geometry"])
        scores = score_normal(loaded, _counted(images), geometry)
    promise = best_guarantee(len(scores.image), asked) if at_best else asked
    threshold = threshold_for(scores, promise, images.sha256())
    result = _stored(engine, threshold)
    result |= _figures(scores, promise, asked)
    result["left_out"] = images.left_out | scores.left_out
    result["trained_on"] = threshold.data_sha256 == manifest.provenance.data_sha256 != ""
    if plot is not None:
        _draw(plot, scores, threshold)
    if as_json:
        emit(result)
    else:
        click.echo(_words(result))
    for line in _warnings(result, scores):
        click.echo(line, err=True)
    if flags := geometry.flags(manifest.geometry):
        click.echo(f"Set for another geometry than the engine's: run needs {shlex.join(flags)}",
                   err=True)  # fmt: skip


def _refuse_early(engine: Path, plot: Path | None) -> None:
    """Refuse what would only be found out after every image was judged."""
    import importlib.util

    from edge_ad.errors import MissingExtra, UsageError

    if engine.suffix == ".pt":
        raise UsageError(
            f"{engine}: weights do not run on a line, so their threshold would be lost. First "
            f"make an engine with: edge-ad export {engine}"
        )
    if plot is not None and (plot.suffix != ".png" or plot.is_dir()):
        raise UsageError(f"--plot {plot}: expected the name of a file that ends in .png.")
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("threshold --plot", "matplotlib", "evaluate")


def _images(uri: str, frames: int | None) -> ImageFolder | SourceFrames:
    import re

    from edge_ad.calibration.thresholds.images import ImageFolder, SourceFrames
    from edge_ad.errors import DataError

    if Path(uri).is_dir():
        return ImageFolder(Path(uri))
    if not re.match(r"[a-z0-9]+:|\d+(\?|$)", uri) and not Path(uri).exists():
        raise DataError(f"{uri}: no such folder or file. Expected images of good parts there.")
    return SourceFrames(uri, frames)


def _counted(images: ImageFolder | SourceFrames) -> Iterator[tuple[str, Image]]:
    """Show on stderr how far we are, where a person can see it."""
    import sys

    if not sys.stderr.isatty():
        yield from images
        return
    length = len(images) if hasattr(images, "__len__") else None
    with click.progressbar(images, length, "judging", file=sys.stderr) as shown:
        yield from shown


def _stored(engine: Path, threshold: Threshold) -> dict[str, Any]:
    """Write the sidecar; what is stored, and where."""
    from edge_ad.errors import OutletLost
    from edge_ad.manifest import set_threshold, sidecar_path

    try:
        sidecar = set_threshold(engine, threshold)
    except OSError as error:
        raise OutletLost(
            f"{sidecar_path(engine)}: cannot be written ({error.strerror or error})."
        ) from error
    kept = threshold.model_dump(mode="json")
    rate = kept.pop("false_alarm_rate")
    return {
        "type": "threshold",
        "engine": str(engine),
        "sidecar": str(sidecar),
        "rate": rate,
        **kept,
    }


def _figures(scores: NormalScores, promise: Guarantee, asked: Guarantee) -> dict[str, Any]:
    """What the images support beside what was asked; the threshold is the rank-th score."""
    from edge_ad.calibration.thresholds.estimate import figures, largest_rank

    count = len(scores.image)
    more = {"rank": largest_rank(count, promise), "near_duplicates": len(scores.repeats)}
    return figures(count, asked) | more | {"highest": scores.highest()}


def _words(result: dict[str, Any]) -> str:
    lines = [
        f"threshold {result['image']:.6g} for images, {result['pixel']:.6g} for pixels",
        f"At most {result['rate']:.3g} of good frames like these {_pieces(result['images'])} will "
        f"be rejected, with confidence {result['confidence']:g}.",
        f"Stored in {result['sidecar']}.",
    ]
    if result["rate"] != result["asked_rate"]:
        lines.insert(
            2,
            f"Asked was {result['asked_rate']:g}, which needs {result['needed']} images; this is "
            "the nearest rate that these support.",
        )
    return "\n".join(lines)


def _pieces(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _warnings(result: dict[str, Any], scores: NormalScores) -> Iterator[str]:
    """What a person should know of the images behind the promise."""
    highest = ", ".join(f"{name} {score:.4g}" for name, score in result["highest"])
    yield f"Look whether the highest are good parts: {highest}"
    if scores.repeats:
        some = ", ".join(f"{name} repeats {twin}" for name, twin in scores.repeats[:3])
        yield (
            f"{len(scores.repeats)} near-duplicates were not counted, since they promise nothing "
            f"new: {some}{' ...' if len(scores.repeats) > 3 else ''}"
        )
    for name, why in result["left_out"].items():
        yield f"left out: {why if name in why else f'{name}: {why}'}"
    if scores.names[0].startswith("frame "):
        yield "Frames that show one part are not independent: count parts, not frames."
    if result["trained_on"]:
        yield (
            "These are the images that the detector was trained on. It may score new ones "
            "higher, and then the line rejects more than promised: use images it has not seen."
        )


def _draw(path: Path, scores: NormalScores, threshold: Threshold) -> None:
    """A histogram of image scores and one of the maps' maxima, each with its threshold."""
    from matplotlib.figure import Figure

    from edge_ad.errors import OutletLost
    from edge_ad.files import replacing

    figure = Figure(figsize=(9, 4), layout="constrained")
    drawn = [("image score", scores.image, threshold.image),
             ("highest value of the map", scores.pixel, threshold.pixel)]  # fmt: skip
    for axes, (label, values, limit) in zip(figure.subplots(1, 2), drawn, strict=True):
        axes.hist(values, bins=50, color="tab:green", alpha=0.6)
        axes.axvline(limit, color="black", linestyle="--", label=f"threshold {limit:.4g}")
        axes.set(xlabel=label, ylabel="good images")
        axes.legend()
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=100)
    except OSError as error:
        raise OutletLost(
            f"{path}: cannot be written ({error.strerror or error}). The threshold is stored."
        ) from error
