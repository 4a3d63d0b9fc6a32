"""`edge-ad evaluate`: measure a detector on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bit_depth import bit_depth_option, read_with_depth
from edge_ad.cli.engine import engine_options, open_artifact
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.labels import labels_options
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import check_writable, writing
from edge_ad.cli.parts import parts_options
from edge_ad.cli.requirements import require_package
from edge_ad.cli.types import Number

if TYPE_CHECKING:
    from edge_ad.dataset import LabelledSet
    from edge_ad.engine import Engine
    from edge_ad.evaluation.predictions import ScoredImage
    from edge_ad.evaluation.summary import PooledPixels
    from edge_ad.geometry import Geometry
    from edge_ad.parts import PartAssignment


@click.command(cls=GroupedCommand)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of labelled images in one of the known layouts.",
)
@labels_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for report.json, curves.png and misses.png.",
)
@parts_options
@geometry_options
@bit_depth_option
@click.option(
    "--threshold", type=Number(), help="Reject above this score instead of the stored threshold."
)
@engine_options
@shared
def command(
    *,
    artifact: Path,
    data: Path,
    layout: str | None,
    leave_out_bad_masks: bool,
    output: Path | None,
    threshold: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure weights or an engine on labelled images.

    Image AUROC, pixel AUROC, pixel AP, AUPRO (up to 0.3), IAP and IAP@90, overall and per defect
    type; escapes and overkill at the stored threshold; with -o, curves and the worst misses as
    images. Masks are resized to the map by area averaging and rounding at 0.5.

    Every metric has an interval of 95 %, from 1000 draws of whole parts: figures of few parts rank
    nothing. Parts come from --part-id or --parts-from, else from parts.csv, from what capture
    wrote, or from patterns of names; else each image counts as a part.
    """
    if output is not None:
        require_package("evaluate", "matplotlib", "evaluate")
    from edge_ad.dataset import labelled_images
    from edge_ad.evaluation.report import write_report

    labelled = labelled_images(data, layout, leave_out_bad_masks=leave_out_bad_masks)
    if output is not None:
        check_writable(output / "report.json")  # fail now, not after an hour
    with open_artifact(artifact, options["engine_options"]) as engine:
        depth = read_with_depth(
            artifact,
            engine.manifest.bit_depth,
            options["bit_depth"],
            (sample.path for sample in labelled.samples),
        )
        geometry = engine.manifest.geometry.changed(options["geometry"])
        result = _subject(artifact, data, engine, geometry)
        parts = _parts(labelled, options, geometry)
        scored, pooled, report = _evaluate(engine, artifact, labelled, geometry, threshold, parts)
    result |= report | {"bit_depth": depth.bits if depth else None}
    if output is not None:
        with writing(output / "report.json"):
            output.mkdir(parents=True, exist_ok=True)
            write_report(output, result, scored, geometry, pooled)
    if as_json:
        emit(result)
    else:
        _print(labelled, result, output)


def _print(labelled: LabelledSet, result: dict[str, Any], output: Path | None) -> None:
    from edge_ad.cli.evaluate_format import print_table, remarks

    click.echo(labelled)
    print_table(result)
    for line in remarks(result):
        click.echo(line)
    if output is not None:
        click.echo(f"Report: {output}/report.json, curves.png, misses.png")


def _parts(labelled: LabelledSet, options: dict[str, Any], geometry: Geometry) -> PartAssignment:
    """Return which test images show one part; folders of a data set name types, not parts."""
    from edge_ad.parts import How, assign_parts

    return assign_parts(
        [sample.path for sample in labelled],
        part_id=options["part_id"],
        root=labelled.folder,
        how=options["parts_from"],
        among=(How.TABLE, How.CAPTURE, How.NAMES, How.EACH),
        geometry=geometry,
    )


def _evaluate(
    engine: Engine,
    artifact: Path,
    labelled: LabelledSet,
    geometry: Geometry,
    threshold: float | None,
    parts: PartAssignment,
) -> tuple[list[ScoredImage], PooledPixels, dict[str, Any]]:
    """Score all samples; return them, their pixels and the report.

    The report is at the `threshold`, or without one at the stored one.
    """
    from edge_ad.evaluation.report import GIVEN, STORED, build_report, stored_threshold
    from edge_ad.evaluation.summary import PooledPixels

    origin = STORED if threshold is None else GIVEN
    if threshold is None:
        threshold = stored_threshold(artifact, geometry, engine.manifest.geometry)
    left_out = dict(labelled.left_out)
    scored = _score(engine, labelled, geometry, left_out)
    counts = {"data_set": labelled.as_json(), "listed": labelled.listed, "scored": len(scored)}
    pooled = PooledPixels(scored)
    report = build_report(scored, left_out, threshold, origin=origin, parts=parts, pooled=pooled)
    return scored, pooled, counts | report


def _score(
    engine: Engine, labelled: LabelledSet, geometry: Geometry, left_out: dict[str, str]
) -> list[ScoredImage]:
    from rich.console import Console
    from rich.progress import track

    from edge_ad.errors import DataError
    from edge_ad.evaluation.predictions import score_all
    from edge_ad.images.listing import left_out_lines

    console = Console(stderr=True)
    shown = track(labelled, "scoring", console=console, disable=not console.is_terminal)
    scored = list(score_all(engine, shown, left_out, geometry))
    for side, anomalous in (("normal", False), ("anomalous", True)):
        listed = [str(s.path) for s in labelled if s.anomalous == anomalous]
        if listed and not any(item.sample.anomalous == anomalous for item in scored):
            first = left_out[listed[0]]
            raise DataError(f"none of the {len(listed)} {side} images can be scored: {first}")
    for line in left_out_lines(left_out.values()):
        click.echo(line, err=True)
    return scored


def _subject(artifact: Path, data: Path, engine: Engine, geometry: Geometry) -> dict[str, Any]:
    """Return the artifact, data and geometry that were evaluated."""
    from edge_ad.sidecar import engine_sha256
    from edge_ad.triton import engine_text

    manifest = engine.manifest
    return {
        "type": "evaluation",
        "artifact": engine_text(artifact),
        "sha256": engine_sha256(artifact),
        "data": str(data),
        "method": manifest.method,
        "precision": manifest.precision,
        "size_hw": list(manifest.size_hw),
        "geometry": geometry.to_dict(),
    }
