"""`edge-ad threshold`: set an engine's thresholds from images of good parts alone."""

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
    from edge_ad.calibration.thresholds.estimate import NormalScores
    from edge_ad.calibration.thresholds.guarantee import Guarantee
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
    help="Folder of images of good parts, or any source of `run`: a video, a camera.",
)
@click.option(
    "--false-alarm-rate",
    default=0.001,
    show_default=True,
    type=_SHARE,
    help="Share of normal frames that may be rejected.",
)
@click.option(
    "--confidence",
    default=0.95,
    show_default=True,
    type=_SHARE,
    help="Probability that the guarantee holds.",
)
@click.option("--at-best", is_flag=True, help="Use the nearest rate that the images support.")
@click.option("--frames", type=click.IntRange(1), help="Stop after this many frames of a source.")
@click.option("--plot", type=click.Path(path_type=Path), help="Plot the scores to this PNG file.")
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
    """Set an engine's thresholds from images of good parts and store them beside it.

    The guarantee is distribution-free: of future normal frames, independent and like the images,
    at most --false-alarm-rate score above the threshold, with probability --confidence. The same
    holds separately for the pixel threshold and a map's highest value. A score exactly at the
    threshold passes. Near-duplicates count once.
    """
    from edge_ad.calibration.thresholds.estimate import score_normal, threshold_for
    from edge_ad.calibration.thresholds.guarantee import Guarantee, best_guarantee
    from edge_ad.engine import open_engine

    _check_early(engine, plot)
    requested = Guarantee(false_alarm_rate, confidence)
    images = _images(uri, frames)
    with open_engine(engine, options["engine_options"]) as loaded:
        manifest = loaded.manifest
        geometry = manifest.geometry.changed(options["geometry"])
        scores = score_normal(loaded, _with_progress(images), geometry)
    guarantee = best_guarantee(len(scores.image), requested) if at_best else requested
    threshold = threshold_for(scores, guarantee, images.sha256())
    result = _store(engine, threshold)
    result |= _figures(scores, guarantee, requested)
    result["left_out"] = images.left_out | scores.left_out
    result["trained_on"] = threshold.data_sha256 == manifest.provenance.data_sha256 != ""
    if plot is not None:
        _plot(plot, scores, threshold)
    if as_json:
        emit(result)
    else:
        click.echo(_format_result(result))
    for line in _warnings(result, scores):
        click.echo(line, err=True)
    if flags := geometry.flags(manifest.geometry):
        click.echo(f"Set for another geometry than the engine's: run needs {shlex.join(flags)}",
                   err=True)  # fmt: skip


def _check_early(engine: Path, plot: Path | None) -> None:
    """Refuse before the images are judged what would otherwise fail after."""
    import importlib.util

    from edge_ad.errors import MissingExtra, UsageError

    if engine.suffix == ".pt":
        raise UsageError(
            f"{engine}: weights do not run on a line, so their threshold would be lost. Export an "
            f"engine first: edge-ad export {engine}"
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


def _with_progress(images: ImageFolder | SourceFrames) -> Iterator[tuple[str, Image]]:
    """Yield the images, with a progress bar if stderr is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield from images
        return
    length = len(images) if hasattr(images, "__len__") else None
    with click.progressbar(images, length, "scoring", file=sys.stderr) as bar:
        yield from bar


def _store(engine: Path, threshold: Threshold) -> dict[str, Any]:
    """Write the sidecar; return what is stored, and where."""
    from edge_ad.errors import OutletLost
    from edge_ad.manifest import set_threshold, sidecar_path

    try:
        sidecar = set_threshold(engine, threshold)
    except OSError as error:
        raise OutletLost(
            f"{sidecar_path(engine)}: cannot be written ({error.strerror or error})."
        ) from error
    stored = threshold.model_dump(mode="json")
    rate = stored.pop("false_alarm_rate")
    return {
        "type": "threshold",
        "engine": str(engine),
        "sidecar": str(sidecar),
        "rate": rate,
        **stored,
    }


def _figures(scores: NormalScores, guarantee: Guarantee, requested: Guarantee) -> dict[str, Any]:
    """Return what the images support; the threshold is the rank-th highest score."""
    from edge_ad.calibration.thresholds.guarantee import figures, largest_rank

    count = len(scores.image)
    ranks = {"rank": largest_rank(count, guarantee), "near_duplicates": len(scores.repeats)}
    return figures(count, requested) | ranks | {"highest": scores.highest()}


def _format_result(result: dict[str, Any]) -> str:
    lines = [
        f"threshold {result['image']:.6g} for images, {result['pixel']:.6g} for pixels",
        f"At most {result['rate']:.3g} of normal frames like these {_count(result['images'])} will "
        f"be rejected, with confidence {result['confidence']:g}.",
        f"Stored in {result['sidecar']}.",
    ]
    if result["rate"] != result["requested_rate"]:
        lines.insert(
            2,
            f"Requested was {result['requested_rate']:g}, which needs {result['images_needed']} "
            "images; this is the nearest rate that these support.",
        )
    return "\n".join(lines)


def _count(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _warnings(result: dict[str, Any], scores: NormalScores) -> Iterator[str]:
    """Yield what the user should know about the images behind the guarantee."""
    highest = ", ".join(f"{name} {score:.4g}" for name, score in result["highest"])
    yield f"Check that the highest-scoring images show good parts: {highest}"
    if scores.repeats:
        some = ", ".join(f"{name} repeats {original}" for name, original in scores.repeats[:3])
        yield (
            f"{len(scores.repeats)} near-duplicates were not counted, since they are not "
            f"independent: {some}{' ...' if len(scores.repeats) > 3 else ''}"
        )
    for name, reason in result["left_out"].items():
        yield f"left out: {reason if name in reason else f'{name}: {reason}'}"
    if scores.names[0].startswith("frame "):
        yield "Frames that show one part are not independent: count parts, not frames."
    if result["trained_on"]:
        yield (
            "The detector was trained on these images. It may score new ones higher, and then the "
            "line rejects more than guaranteed: use images that it was not trained on."
        )


def _plot(path: Path, scores: NormalScores, threshold: Threshold) -> None:
    """Plot histograms of the image scores and the maps' maxima, each with its threshold."""
    from matplotlib.figure import Figure

    from edge_ad.errors import OutletLost
    from edge_ad.files import replacing

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = [("image score", scores.image, threshold.image),
              ("highest value of the map", scores.pixel, threshold.pixel)]  # fmt: skip
    for axes, (label, values, limit) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.hist(values, bins=50, color="tab:green", alpha=0.6)
        axes.axvline(limit, color="black", linestyle="--", label=f"threshold {limit:.4g}")
        axes.set(xlabel=label, ylabel="normal images")
        axes.legend()
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=100)
    except OSError as error:
        raise OutletLost(
            f"{path}: cannot be written ({error.strerror or error}). The threshold is stored."
        ) from error
