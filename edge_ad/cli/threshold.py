"""`edge-ad threshold`: set an engine's thresholds from images of good parts alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.options import emit, shared
from edge_ad.cli.types import NumberRange

if TYPE_CHECKING:
    from edge_ad.calibration.thresholds.anomalies import AnomalyScores
    from edge_ad.calibration.thresholds.guarantee import Guarantee
    from edge_ad.calibration.thresholds.images import ImageFolder, SourceFrames
    from edge_ad.calibration.thresholds.scores import NormalScores
    from edge_ad.dataset import Sample
    from edge_ad.engine import Engine
    from edge_ad.frame import Image
    from edge_ad.geometry import Geometry
    from edge_ad.manifest import Manifest, Threshold


class Measured(NamedTuple):
    """Scores of normal and of anomalous images."""

    scores: NormalScores
    anomalies: AnomalyScores


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
@click.option(
    "--anomalies",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Anomalous images to count escapes on: any folder of them, or a labelled data set. "
    "Default: synthetic anomalies drawn on the good images.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Plot scores, and escapes over false alarms, to this PNG file, also when refused.",
)
@geometry_options
@engine_options
@shared
def command(*, engine: Path, plot: Path | None, as_json: bool, **options: Any) -> None:
    """Set an engine's thresholds from images of good parts and store them beside it.

    The guarantee is distribution-free: of future normal frames, independent and like the images,
    at most --false-alarm-rate score above the threshold, with probability --confidence. The same
    holds separately for the pixel threshold and a map's highest value. A score exactly at the
    threshold passes. Near-duplicates count once. What the threshold costs is said in escapes:
    anomalous images that pass. A threshold that no anomaly exceeds is refused.
    """
    from edge_ad.calibration.thresholds.guarantee import Guarantee
    from edge_ad.cli.threshold_format import format_result, result_of, warnings
    from edge_ad.engine import open_engine

    _check_early(engine, plot)
    requested = Guarantee(options["false_alarm_rate"], options["confidence"])
    images = _images(options["uri"], options["frames"])
    anomalous = _anomalous(options["anomalies"], images)
    with open_engine(engine, options["engine_options"]) as loaded:
        manifest = loaded.manifest
        geometry = manifest.geometry.changed(options["geometry"])
        measured = _measure(loaded, images, anomalous, geometry)
    _refuse_trained(manifest, images.sha256())
    threshold = _decide(measured, requested, images, options, plot)
    sidecar = _store(engine, threshold)
    result = result_of(engine, threshold, *measured, requested) | {"sidecar": str(sidecar)}
    if as_json:
        emit(result)
    else:
        click.echo(format_result(result))
    for line in warnings(result, measured.scores.repeats):
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


def _anomalous(folder: Path | None, images: ImageFolder | SourceFrames) -> list[Sample] | None:
    """List the anomalous images; None to draw synthetic ones."""
    from edge_ad.calibration.thresholds.anomalies import anomalous_samples

    if folder is None:
        return None
    return anomalous_samples(folder, images.paths if isinstance(images, Sized) else ())


def _measure(
    engine: Engine,
    images: ImageFolder | SourceFrames,
    anomalous: list[Sample] | None,
    geometry: Geometry,
) -> Measured:
    """Score the normal images, and the anomalous ones or synthetic ones drawn on the normal."""
    from edge_ad.calibration.thresholds.anomalies import SyntheticAnomalies, score_labelled
    from edge_ad.calibration.thresholds.estimate import score_normal

    named = _with_progress(images)
    if anomalous is not None:
        scores = score_normal(engine, named, geometry)
        anomalies = score_labelled(engine, anomalous, geometry)
    else:
        count = len(images) if isinstance(images, Sized) else None
        synthetic = SyntheticAnomalies(engine, geometry, count)
        scores = score_normal(engine, named, geometry, on_image=synthetic)
        anomalies = synthetic.finish()
    scores.left_out = images.left_out | scores.left_out
    return Measured(scores, anomalies)


def _refuse_trained(manifest: Manifest, data_sha256: str) -> None:
    """Refuse the very images that the detector was trained on."""
    from edge_ad.errors import GateFailed

    if data_sha256 == manifest.provenance.data_sha256 != "":
        raise GateFailed(
            "the detector was trained on these images. It may score new ones higher, and then the "
            "line rejects more than guaranteed, so nothing is stored. Give images of good parts "
            "that it was not trained on."
        )


def _decide(
    measured: Measured,
    requested: Guarantee,
    images: ImageFolder | SourceFrames,
    options: dict[str, Any],
    plot: Path | None,
) -> Threshold:
    """Return the threshold with its escapes; plot what led to it, also to a refusal."""
    from edge_ad.calibration.thresholds.anomalies import check_escapes
    from edge_ad.calibration.thresholds.estimate import threshold_for
    from edge_ad.calibration.thresholds.guarantee import best_guarantee
    from edge_ad.errors import GateFailed

    parts = measured.scores.by("part")
    guarantee = best_guarantee(parts.distinct, requested) if options["at_best"] else requested
    threshold, refusal = None, ""
    try:
        threshold = threshold_for(measured.scores, guarantee, images.sha256())
        return check_escapes(threshold, measured.anomalies, measured.scores)
    except GateFailed as error:
        threshold, refusal = None, str(error)
        raise
    finally:
        if plot is not None:
            _plot(plot, measured, threshold, refusal)


def _store(engine: Path, threshold: Threshold) -> Path:
    """Write the sidecar and return its path."""
    from edge_ad.errors import OutletLost
    from edge_ad.manifest import set_threshold, sidecar_path

    try:
        return set_threshold(engine, threshold)
    except OSError as error:
        raise OutletLost(
            f"{sidecar_path(engine)}: cannot be written ({error.strerror or error})."
        ) from error


def _plot(path: Path, measured: Measured, threshold: Threshold | None, refusal: str) -> None:
    from edge_ad.calibration.thresholds.plot import write_plot
    from edge_ad.errors import OutletLost

    try:
        write_plot(path, measured.scores.by("part"), measured.anomalies, threshold, refusal)
    except OSError as error:
        raise OutletLost(
            f"{path}: cannot be written ({error.strerror or error}). No threshold is stored."
        ) from error
