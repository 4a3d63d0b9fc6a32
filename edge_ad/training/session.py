"""From a folder of good images to a weights file and its report."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from edge_ad.dataset import normal_images
from edge_ad.geometry import Geometry
from edge_ad.manifest import Manifest, Provenance
from edge_ad.methods.catalogue import titled
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.trainer import (
    BranchChoice,
    MethodTraining,
    Trainer,
    TrainingSettings,
    training_named,
)
from edge_ad.methods.method import method_named
from edge_ad.methods.weights import load_detector, save_detector
from edge_ad.preprocess import Preprocess
from edge_ad.provenance import stamp
from edge_ad.synthesis.anomalies import SynthesisConfig, synthesize
from edge_ad.synthesis.blend import is_grey
from edge_ad.synthesis.textures import ProceduralTextures, TextureFolder, Textures
from edge_ad.training.batches import BatchSampler, batch_of
from edge_ad.training.checkpoint import checkpoint_path
from edge_ad.training.data import NormalTiles, load_tiles
from edge_ad.training.device import Arithmetic, arithmetic_for, pick_device
from edge_ad.training.loop import Report, TrainingLoop, TrainingOptions
from edge_ad.training.network_cost import NetworkCost, cost_of
from edge_ad.training.report import example_rows, write_report

HELD_BACK = (32, 128)  # at least, at most this many held-back samples


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on what, where to."""

    method: str
    data: Path
    output: Path
    size_hw: tuple[int, int]
    settings: TrainingSettings
    geometry: Geometry = field(default_factory=Geometry)
    textures: Path | None = None
    teacher: Path | None = None
    seed: int = 0
    device: str = "auto"
    arithmetic: Arithmetic | None = None
    workers: int = 1
    budget_minutes: float | None = None
    resume: bool = False


class PreparedTraining(NamedTuple):
    """A job's images, textures and untrained network."""

    good: NormalTiles
    textures: Textures
    grey: bool
    trainer: Trainer
    held_back: Batch
    drawer: BatchSampler


def train(
    job: TrainConfig,
    stop: threading.Event,
    report: Report,
    announce: Callable[[NetworkCost], None] = lambda cost: None,
) -> dict[str, Any]:
    """Train, write weights and report, and return the report.

    `announce` hears what the network costs before training starts; `report` hears every step.
    Raises Interrupted when `stop` is set: the checkpoint beside the output is ready for --resume.
    """
    recipe = training_named(job.method)
    prepared = _prepare(job, recipe)
    fit = TrainingLoop(prepared.trainer, prepared.drawer, _fit_options(job, prepared))
    cost = cost_of(prepared.trainer.module, job.size_hw)
    announce(cost)
    if job.resume:
        fit.resume()
    fit.run(stop, report)
    prepared.trainer.module.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    choice = prepared.trainer.choose(prepared.held_back)
    manifest = _manifest(job, prepared, choice)
    save_detector(job.output, prepared.trainer.module, manifest, choice.config)
    module = load_detector(job.output).module
    rows = example_rows(module, prepared.held_back)
    result = write_report(job.output, _told(job, prepared, fit, choice, cost), fit.history, rows)
    checkpoint_path(job.output).unlink(missing_ok=True)
    return result


def _prepare(job: TrainConfig, recipe: MethodTraining) -> PreparedTraining:
    torch.manual_seed(job.seed)
    trainer = recipe.trainer(job.settings, job.size_hw, job.teacher)
    textures = job.settings.changed(_textures(job))
    good = load_tiles(normal_images(job.data), Preprocess(job.size_hw, job.geometry))
    grey = is_grey(good.tiles)
    chosen, held_back = good.split()
    drawer = BatchSampler(
        tiles=good.tiles,
        chosen=chosen,
        textures=textures,
        settings=job.settings.synthesis,
        size=job.settings.batch,
        seed=job.seed,
        grey=grey,
    )
    back = _held_back(good, held_back, textures, job, grey=grey)
    return PreparedTraining(good, textures, grey, trainer, back, drawer)


def _textures(job: TrainConfig) -> Textures:
    if job.textures is None:
        return ProceduralTextures(job.size_hw)
    return TextureFolder(job.textures, job.size_hw)


def _held_back(
    good: NormalTiles, places: Any, textures: Textures, job: TrainConfig, *, grey: bool
) -> Batch:
    """Held-back tiles, clean and damaged: half by textures, half by marks, whatever was trained."""
    count = int(np.clip(len(places), *HELD_BACK))
    chosen = [int(places[index * len(places) // count]) for index in range(count)]
    rng = np.random.default_rng([job.seed, 3])
    kinds = [SynthesisConfig(structural_share=share) for share in (0.0, 1.0)]
    samples = [
        synthesize(good.tiles[tile], textures, kinds[number % 2], rng, grey=grey)
        for number, tile in enumerate(chosen)
    ]
    return batch_of(samples, chosen)


def _fit_options(job: TrainConfig, prepared: PreparedTraining) -> TrainingOptions:
    device = pick_device(job.device)
    return TrainingOptions(
        checkpoint=checkpoint_path(job.output),
        identity=_identity(job, prepared),
        device=device,
        arithmetic=arithmetic_for(device, job.arithmetic),
        workers=job.workers,
        budget_s=job.budget_minutes and job.budget_minutes * 60,
        rate=job.settings.rate,
        slower=job.settings.slower,
    )


def _identity(job: TrainConfig, prepared: PreparedTraining) -> dict[str, str]:
    """What a resumed training must have in common with the interrupted one."""
    return {
        "method": job.method,
        "size": str(job.size_hw),
        "seed": str(job.seed),
        "settings": job.settings.model_dump_json(),
        "geometry": job.geometry.model_dump_json(),
        "textures": prepared.textures.name,
        "budget-minutes": str(job.budget_minutes),
        "images": prepared.good.data_sha256,
    }


def _manifest(job: TrainConfig, prepared: PreparedTraining, choice: BranchChoice) -> Manifest:
    return Manifest(
        method=job.method,
        size_hw=job.size_hw,
        geometry=job.geometry,
        score=method_named(job.method).score(choice.config),
        provenance=stamp(
            Provenance(data_sha256=prepared.good.data_sha256, images=prepared.good.images),
            notes={
                "method": titled(job.method),
                "seed": str(job.seed),
                "textures": Path(prepared.textures.name).name,
            },
        ),
    )


def _told(
    job: TrainConfig,
    prepared: PreparedTraining,
    fit: TrainingLoop,
    choice: BranchChoice,
    cost: NetworkCost,
) -> dict[str, Any]:
    good = prepared.good
    return {
        "method": job.method,
        "title": titled(job.method),
        "size_hw": list(job.size_hw),
        "geometry": job.geometry.model_dump(mode="json"),
        "images": good.images,
        "tiles": len(good.tiles),
        "skipped": list(good.skipped),
        "held_back": len(prepared.held_back.mask),
        "grey": prepared.grey,
        "textures": prepared.textures.name,
        "settings": job.settings.model_dump(mode="json"),
        "seed": job.seed,
        "device": str(fit.options.device),
        "arithmetic": fit.options.arithmetic,
        "threads": torch.get_num_threads(),
        "budget_minutes": job.budget_minutes,
        "steps": fit.steps_made,
        "minutes": round(fit.elapsed_s / 60, 2),
        "parameters": cost.parameters,
        "gflops": round(cost.flops / 1e9, 2),
        "choice": choice.report,
    }
