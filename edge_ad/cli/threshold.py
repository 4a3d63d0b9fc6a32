"""`edge-ad threshold`: set an engine's thresholds from images of good parts alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edge_ad.cli.bit_depth import bit_depth_option, read_with_depth
from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import check_output_file, writing
from edge_ad.cli.parts import parts_options
from edge_ad.cli.requirements import require_package
from edge_ad.cli.types import NumberRange

if TYPE_CHECKING:
    from edge_ad.calibration.thresholds.anomalies import AnomalyScores
    from edge_ad.calibration.thresholds.decide import Request
    from edge_ad.calibration.thresholds.normal_input import NormalInput
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


@click.command(cls=GroupedCommand)
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
    type=_SHARE,
    help="Share of normal parts that may be rejected; refused where the parts are too few for it. "
    "Default: the lowest that the parts support, 0.001 or more.",
)
@click.option(
    "--confidence",
    default=0.95,
    show_default=True,
    type=_SHARE,
    help="Probability that the guarantee holds.",
)
@click.option(
    "--at-best",
    is_flag=True,
    help="Where the parts are too few for --false-alarm-rate, use the lowest that they support.",
)
@click.option(
    "--by",
    default="part",
    show_default=True,
    type=click.Choice(["part", "image"]),
    help="Bound the share of rejected parts, by each part's highest score, or of rejected images, "
    "by one image drawn from each part. A bound on parts holds for images too.",
)
@parts_options
@click.option("--frames", type=click.IntRange(1), help="Stop after this many frames of a source.")
@click.option(
    "--frames-per-part",
    type=click.IntRange(1),
    help="Frames in a row of a source that show one part.",
)
@click.option(
    "--allow-drift",
    is_flag=True,
    help="Store a threshold although scores drift over time; this is recorded.",
)
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
@bit_depth_option
@engine_options
@shared
def command(*, engine: Path, plot: Path | None, as_json: bool, **options: Any) -> None:
    """Set an engine's thresholds from images of good parts and store them beside it.

    The guarantee is distribution-free and counts parts, since images of one part are not
    independent: of future normal parts like these, at most a share of --false-alarm-rate has an
    image above the threshold, with probability --confidence. The same holds separately for the
    pixel threshold and a map's highest value. A score exactly at the threshold passes.

    Images and parts that the detector was trained on are refused. Of a training folder, the parts
    that the training set aside for thresholds are used alone, or after train --folds the scores of
    nets that did not see the part; such a threshold is an estimate.

    What the threshold costs is said in escapes: anomalous images that pass. A threshold that no
    anomaly exceeds is refused, as is one from images whose scores drift over time.
    """
    from edge_ad.calibration.thresholds.decide import refuse_other_scores
    from edge_ad.cli.threshold_format import format_result, result_of, warnings
    from edge_ad.engine import open_engine

    _refuse_served(engine)
    _check_early(engine, plot)
    request = _request(options)
    with open_engine(engine, options["engine_options"]) as loaded:
        manifest = loaded.manifest
        depth = read_with_depth(
            engine, manifest.bit_depth, options["bit_depth"], _listed(Path(options["uri"]))
        )
        geometry = manifest.geometry.changed(options["geometry"])
        given = _open(options, manifest, geometry)
        refuse_other_scores(given, manifest, geometry)
        measured = _measure(loaded, given, _anomalous(options["anomalies"], given), geometry)
    threshold = _decide(request, given, measured, plot)
    sidecar = _store(engine, threshold)
    result = result_of(engine, threshold, given, *measured, options["false_alarm_rate"])
    result["sidecar"] = str(sidecar)
    result["bit_depth"] = depth.bits if depth else None
    if as_json:
        emit(result)
    else:
        click.echo(format_result(result))
    for line in warnings(result, given, measured.scores.repeats):
        click.echo(line, err=True)
    if flags := geometry.flags(manifest.geometry):
        click.echo(f"Set for another geometry than the engine's: run needs {shlex.join(flags)}",
                   err=True)  # fmt: skip


def _listed(folder: Path) -> Iterator[Path]:
    """Yield the images of a folder, to find their bit depth when the engine has none."""
    from edge_ad.dataset import normal_images

    if folder.is_dir():
        yield from normal_images(folder)


def _request(options: dict[str, Any]) -> Request:
    from edge_ad.calibration.thresholds.decide import Request
    from edge_ad.calibration.thresholds.guarantee import LOWEST_RATE, Guarantee

    rate = options["false_alarm_rate"]
    return Request(
        Guarantee(LOWEST_RATE if rate is None else rate, options["confidence"]),
        by=options["by"],
        at_best=options["at_best"] or rate is None,
        allow_drift=options["allow_drift"],
    )


def _refuse_served(engine: Path) -> None:
    from edge_ad.errors import UsageError
    from edge_ad.triton import served_model

    if served_model(engine) is not None:
        raise UsageError(
            f"{served_model(engine)}: a server's model keeps no threshold of ours. Set it on the "
            "engine file, and export that again with: edge-ad export-triton"
        )


def _check_early(engine: Path, plot: Path | None) -> None:
    """Refuse before the images are judged what would otherwise fail after."""
    from edge_ad.errors import UsageError

    if engine.suffix == ".pt":
        raise UsageError(
            f"{engine}: weights do not run on a line, so their threshold would be lost. Export an "
            f"engine first: edge-ad export {engine}"
        )
    if plot is not None:
        check_output_file(plot, ".png", "--plot")
        require_package("threshold --plot", "matplotlib", "evaluate")


def _open(options: dict[str, Any], manifest: Manifest, geometry: Geometry) -> NormalInput:
    """Open the normal images: a folder by parts, or the frames of a source."""
    import re

    from edge_ad.calibration.thresholds.normal_input import check_options, open_folder, open_frames
    from edge_ad.errors import DataError

    uri, frames, frames_per_part = options["uri"], options["frames"], options["frames_per_part"]
    part_id, how = options["part_id"], options["parts_from"]
    check_options(
        folder=Path(uri).is_dir(),
        frames=frames is not None,
        frames_per_part=frames_per_part is not None,
        parts=(part_id is not None) + (how is not None),
    )
    if Path(uri).is_dir():
        return open_folder(Path(uri), manifest.data_split, geometry, part_id, how)
    if not re.match(r"[a-z0-9]+:|\d+(\?|$)", uri) and not Path(uri).exists():
        raise DataError(f"{uri}: no such folder or file. Expected images of good parts there.")
    return open_frames(uri, frames, frames_per_part)


def _with_progress(given: NormalInput) -> Iterator[tuple[str, Image]]:
    """Yield the images, with a progress bar if stderr is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield from given.images
        return
    with click.progressbar(given.images, given.count, "scoring", file=sys.stderr) as bar:
        yield from bar


def _anomalous(folder: Path | None, given: NormalInput) -> list[Sample] | None:
    """List the anomalous images; None to draw synthetic ones."""
    from edge_ad.calibration.thresholds.anomalies import anomalous_samples

    return anomalous_samples(folder, given.paths) if folder else None


def _measure(
    engine: Engine, given: NormalInput, anomalous: list[Sample] | None, geometry: Geometry
) -> Measured:
    """Score the normal images, and the anomalous ones or synthetic ones drawn on the normal."""
    from edge_ad.calibration.thresholds.anomalies import SyntheticAnomalies, score_labelled
    from edge_ad.calibration.thresholds.scores import score_normal

    named, part_of = _with_progress(given), given.part_of
    if anomalous is not None:
        scores = score_normal(engine, named, geometry, part_of=part_of)
        anomalies = score_labelled(engine, anomalous, geometry)
    else:
        synthetic = SyntheticAnomalies(engine, geometry, given.count)
        scores = score_normal(engine, named, geometry, part_of=part_of, on_image=synthetic)
        anomalies = synthetic.finish()
    if given.fitted is not None:  # the engine's own scores of parts it was trained on are too low
        scores = replace(given.fitted.scores, left_out=scores.left_out)
    scores.left_out = given.images.left_out | scores.left_out
    return Measured(scores, anomalies)


def _decide(
    request: Request,
    given: NormalInput,
    measured: Measured,
    plot: Path | None,
) -> Threshold:
    """Return the threshold; plot what led to it, also to a refusal."""
    from edge_ad.calibration.thresholds.decide import decide
    from edge_ad.errors import GateFailed

    threshold, refusal = None, ""
    try:
        threshold = decide(request, given, *measured)
    except GateFailed as error:
        refusal = str(error)
        raise
    finally:
        if plot is not None:
            _plot(plot, request, measured, threshold, refusal)
    return threshold


def _store(engine: Path, threshold: Threshold) -> Path:
    """Write the sidecar and return its path."""
    from edge_ad.sidecar import set_threshold, sidecar_path

    with writing(sidecar_path(engine)):
        return set_threshold(engine, threshold)


def _plot(
    path: Path, request: Request, measured: Measured, threshold: Threshold | None, refusal: str
) -> None:
    from edge_ad.calibration.thresholds.plot import write_plot

    with writing(path, "No threshold is stored."):
        parts = measured.scores.by(request.by)
        write_plot(path, parts, measured.anomalies, threshold, refusal)
