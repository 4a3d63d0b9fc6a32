"""A whole training: from a folder of normal images to a weights file and its report."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from edge_ad.dataset import left_out_beside
from edge_ad.files import sha256_of
from edge_ad.images import BitDepth
from edge_ad.images.grey_levels import warning_of_levels
from edge_ad.manifest import Manifest, Provenance
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.trainer import BranchChoice, ScheduledByTiles, Trainer, load_training
from edge_ad.methods.method import load_method
from edge_ad.methods.registry import title_of
from edge_ad.methods.weights import load_detector, save_detector
from edge_ad.provenance import stamp
from edge_ad.synthesis.blend import is_grey
from edge_ad.synthesis.textures import Textures
from edge_ad.training.checkpoint import checkpoint_path
from edge_ad.training.cross_fitting import cross_fit, folds_of
from edge_ad.training.data import BatchSampler, NormalTiles, scale_of, warn_of_ratios
from edge_ad.training.device import arithmetic_for, pick_device
from edge_ad.training.input_choice import InputChoice, choose_input
from edge_ad.training.loop import OnStep, TrainingLoop, TrainingOptions
from edge_ad.training.network_cost import NetworkCost, check_answer, check_space, cost_of
from edge_ad.training.part_split import PartSplit
from edge_ad.training.reference_line import reference_line
from edge_ad.training.report import example_rows, write_report
from edge_ad.training.selection import selection_batch, selection_score
from edge_ad.training.train_config import Loaded, TrainConfig, load, textures_of, with_sizes

_log = logging.getLogger(__name__)


class PreparedTraining(NamedTuple):
    """Tiles, textures and untrained network of a training."""

    normal: NormalTiles
    depth: BitDepth
    split: PartSplit
    textures: Textures
    grey: bool
    trainer: Trainer
    held_back: Batch
    sampler: BatchSampler


def train(
    config: TrainConfig,
    stop: threading.Event,
    on_step: OnStep,
    on_start: Callable[[NetworkCost, PartSplit], None] = lambda cost, split: None,
    on_fold: Callable[[int], None] = lambda number: None,
    on_inputs: Callable[[InputChoice], None] = lambda choice: None,
) -> dict[str, Any]:
    """Train, write weights and report, and return the report.

    `on_start` is called with the network's cost and the split of the images before training starts,
    `on_step` after every step, `on_fold` with the number of each fold before its training, and
    `on_inputs` with the comparison for a smallest defect.
    Raises Interrupted when `stop` is set: the checkpoint beside the output is ready for --resume.
    """
    inputs, loaded = None, None
    if config.smallest_defect_px is not None:
        config, inputs, loaded = choose_input(config, stop)
        on_inputs(inputs)
    config = with_sizes(config)
    loaded = loaded or load(config)
    warn_of_ratios(loaded.normal, config.size_hw)
    if coarse := warning_of_levels(loaded.normal.paths, loaded.depth):
        _log.warning("%s", coarse)
    if config.folds:
        folds_of(loaded.split)  # refuse too few parts before any work
    prepared = _prepare(config, loaded)
    loop = TrainingLoop(prepared.trainer, prepared.sampler, _options(config, prepared))
    check_answer(prepared.trainer.module, config.method, config.size_hw)
    cost = cost_of(prepared.trainer.module, config.size_hw)
    on_start(cost, prepared.split)
    check_space(config.output, cost)
    choice = _run(loop, prepared, stop, on_step, resume=config.resume)
    manifest = _manifest(config, prepared, choice)
    if config.folds:
        chosen = config.settings.model_copy(update={"network": choice.config})
        folds = replace(config, settings=chosen)  # scores of one kind of map
        manifest = _cross_fitted(folds, prepared, manifest, stop, on_step, on_fold)
    save_detector(config.output, prepared.trainer.module, manifest, choice.config)
    report = _report(config, prepared, loop, choice, inputs)
    for number in range(config.folds + 1):
        checkpoint_path(_fold_path(config.output, number)).unlink(missing_ok=True)
    return report


def _run(
    loop: TrainingLoop,
    prepared: PreparedTraining,
    stop: threading.Event,
    on_step: OnStep,
    *,
    resume: bool,
) -> BranchChoice:
    """Train to the end, and choose the network's final configuration, on the CPU."""
    if resume:
        loop.resume()
    loop.run(stop, on_step)
    module = prepared.trainer.module
    module.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return prepared.trainer.choose(prepared.held_back)


def _report(
    config: TrainConfig,
    prepared: PreparedTraining,
    loop: TrainingLoop,
    choice: BranchChoice,
    inputs: InputChoice | None,
) -> dict[str, Any]:
    """Measure the detector as it was written, and write the report beside it."""
    trained = load_detector(config.output).module
    figures = _figures(config, prepared, loop, choice, cost_of(trained, config.size_hw))
    held_back = _held_back_figures(trained, prepared.held_back)
    line = reference_line(prepared.sampler, prepared.held_back, config.size_hw, config.teacher)
    figures |= {
        "held_back_figures": held_back,
        "inputs": inputs.report() if inputs else None,
        "reference": {"trained": held_back, **line},
    }
    rows = example_rows(trained, prepared.held_back)
    return write_report(config.output, figures, loop.history, rows)


def _cross_fitted(
    config: TrainConfig,
    prepared: PreparedTraining,
    manifest: Manifest,
    stop: threading.Event,
    on_step: OnStep,
    on_fold: Callable[[int], None],
) -> Manifest:
    """Train a net for each fold; return the manifest with the scores of the parts left out."""

    def train_fold(number: int, split: PartSplit) -> Path:
        on_fold(number)
        output = _fold_path(config.output, number)
        ready = config.resume and checkpoint_path(output).exists()
        fold = replace(config, output=output, resume=ready, folds=0)
        one = _prepare(fold, Loaded(prepared.normal, split, prepared.depth))
        loop = TrainingLoop(one.trainer, one.sampler, _options(fold, one))
        choice = _run(loop, one, stop, on_step, resume=ready)
        save_detector(output, one.trainer.module, _manifest(fold, one, choice), choice.config)
        return output

    ids = dict(zip(prepared.normal.paths, prepared.normal.ids, strict=True))
    scores = cross_fit(prepared.split, prepared.depth, ids, train_fold)
    assert manifest.data_split is not None
    split = manifest.data_split.replace(cross_fitted=scores)
    return manifest.replace(data_split=split)


def _fold_path(output: Path, number: int) -> Path:
    """Return the path of a fold's weights, or of the final ones for 0."""
    return output.with_suffix(f".fold{number}{output.suffix}") if number else output


def _prepare(config: TrainConfig, loaded: Loaded) -> PreparedTraining:
    normal, split, depth = loaded
    torch.manual_seed(config.seed)
    training = load_training(config.method)
    trainer = training.trainer(config.settings, config.size_hw, config.teacher)
    if config.budget_minutes and all(phase.once for phase in trainer.phases):
        _log.warning("%s sees each image once: --budget-minutes changes nothing.", config.method)
    textures = config.settings.prepare_textures(textures_of(config))
    grey = config.settings.synthesis.match_colour and is_grey(normal.tiles)
    indices, held_back = split.tiles(normal)
    if isinstance(trainer, ScheduledByTiles):
        trainer.expect(len(indices))
    sampler = BatchSampler(
        tiles=normal.tiles,
        indices=indices,
        textures=textures,
        synthesis=config.settings.synthesis,
        size=config.settings.batch,
        seed=config.seed,
        grey=grey,
        repetition=config.settings.repetition,
    )
    batch = selection_batch(normal.tiles, held_back, textures, seed=config.seed, grey=grey)
    return PreparedTraining(normal, depth, split, textures, grey, trainer, batch, sampler)


def _held_back_figures(module: torch.nn.Module, held_back: Batch) -> dict[str, Any]:
    """Return image AUROC, also by kind, and pixel AP of the detector on the held-back tiles."""
    with torch.inference_mode():
        figures = measure(held_back, lambda rgb: {"": module.eval()(rgb)[:2]})[""]
    by_kind = {kind: round(value, 4) for kind, value in figures.get("by_kind", {}).items()}
    rounded = {name: round(figures[name], 4) for name in ("image_auroc", "pixel_ap")}
    return {**rounded, "by_kind": by_kind}


def _options(config: TrainConfig, prepared: PreparedTraining) -> TrainingOptions:
    device = pick_device(config.device)
    return TrainingOptions(
        checkpoint=checkpoint_path(config.output),
        identity=_identity(config, prepared),
        device=device,
        arithmetic=arithmetic_for(device, config.arithmetic),
        workers=config.workers,
        budget_s=config.budget_minutes and config.budget_minutes * 60,
        checkpoint_every_s=config.checkpoint_every_s,
        rate=config.settings.rate,
        lower_rates=config.settings.lower_rates,
        average=config.settings.average,
        checks=config.settings.checks,
        score=partial(selection_score, prepared.trainer.module, prepared.held_back, device),
    )


def _identity(config: TrainConfig, prepared: PreparedTraining) -> dict[str, str]:
    """Return what a resumed training must have in common with the interrupted one."""
    return {
        "method": config.method,
        "size": str(config.size_hw),
        "seed": str(config.seed),
        "settings": config.settings.model_dump_json(),
        "geometry": config.geometry.to_json(),
        "textures": prepared.textures.name,
        "budget-minutes": str(config.budget_minutes),
        "parts": prepared.split.record(prepared.normal).to_json(),
        "images": prepared.normal.data_sha256,
        "bit-depth": str(prepared.depth.bits),
    }


def _manifest(config: TrainConfig, prepared: PreparedTraining, choice: BranchChoice) -> Manifest:
    trained = prepared.split.trained
    return Manifest(
        method=config.method,
        size_hw=config.size_hw,
        geometry=config.geometry,
        bit_depth=prepared.depth.bits,
        score=load_method(config.method).score(choice.config, config.size_hw),
        provenance=stamp(
            Provenance(data_sha256=sha256_of(trained), images=len(trained)),
            notes={
                "method": title_of(config.method),
                "seed": str(config.seed),
                "textures": Path(prepared.textures.name).name,
            },
        ),
        data_split=prepared.split.record(prepared.normal),
    )


def _figures(
    config: TrainConfig,
    prepared: PreparedTraining,
    loop: TrainingLoop,
    choice: BranchChoice,
    cost: NetworkCost,
) -> dict[str, Any]:
    """Return the report's figures."""
    normal = prepared.normal
    return {
        "method": config.method,
        "title": title_of(config.method),
        "size_hw": list(config.size_hw),
        "geometry": config.geometry.to_dict(),
        "images": len(prepared.split.assignment.parts),
        "bit_depth": prepared.depth.bits,
        "tiles": len(normal.tiles),
        "image_px_per_input_px": round(1 / scale_of(normal, config.size_hw), 3),
        "left_out": left_out_beside([*normal.paths, *map(Path, normal.skipped)]),
        "skipped": [*normal.skipped, *map(str, prepared.split.assignment.left_out)],
        "split": prepared.split.report(),
        "held_back": len(prepared.held_back.mask),
        "grey": prepared.grey,
        "textures": prepared.textures.name,
        "settings": config.settings.model_dump(mode="json"),
        "seed": config.seed,
        "device": str(loop.options.device),
        "arithmetic": loop.options.arithmetic,
        "threads": torch.get_num_threads(),
        "budget_minutes": config.budget_minutes,
        "steps": loop.steps_done,
        "minutes": round(loop.elapsed_s / 60, 2),
        "parameters": cost.parameters,
        "gflops": round(cost.flops / 1e9, 2),
        "choice": choice.report,
        "checks": [round(score, 4) for score in loop.checks],
    }
