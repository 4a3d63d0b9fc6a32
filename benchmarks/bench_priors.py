"""Compare DeSTSeg's priors on parts set aside, with one training's student and segmentation net.

    python benchmarks/bench_priors.py --shared ../shared --data magnetic_tile,line --seed 0

The weights of `destseg` come from `bench_methods.py --methods destseg --stage train`. A training
with a prior begins as one without and differs in its last pass only, so that pass is run here for
every prior at once, as `--prior auto` does: three draws, each with other anomalies and another
memory. No test image is read.

The first draw's detectors with each prior, and with the one that auto takes, are written beside the
weights: `bench_methods.py --stage measure` finds them as `destseg+gaussian` and so on.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from method_seeds import Run, teacher_file  # the script's own folder is on the path
from results import write_result

from edge_ad.dataset import normal_images
from edge_ad.files import write_text
from edge_ad.geometry import Geometry
from edge_ad.methods.destseg.network import METHOD
from edge_ad.methods.destseg.training import FITTING, DeSTSegSettings, DeSTSegTrainer
from edge_ad.methods.layers.backbone import CHANNELS
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.settings import SetAside
from edge_ad.methods.learning.trainer import BranchChoice
from edge_ad.methods.weights import TrainedDetector, load_detector, save_detector
from edge_ad.preprocess import Preprocess
from edge_ad.synthesis.textures import ProceduralTextures, TextureFolder
from edge_ad.training.data import BatchSampler, load_tiles
from edge_ad.training.network_cost import cost_of
from edge_ad.training.part_split import split_by_part
from edge_ad.training.report import report_path
from edge_ad.training.selection import selection_batch

PRIORS = ("none", "gaussian", "patchcore", "auto")
FIGURES = ("image_auroc", "pixel_ap", "selection_score")


class Trained(NamedTuple):
    """Weights without a prior, their report, and the tiles they were trained on and chosen by."""

    detector: TrainedDetector
    report: dict[str, Any]
    teacher: Path
    sampler: BatchSampler
    compared: Any  # numbers of the tiles to choose by

    def settings(self, prior: str) -> DeSTSegSettings:
        """Return the training's settings with another prior."""
        network = self.report["settings"]["network"] | {"prior": prior}
        values = self.report["settings"] | {"network": network}
        return DeSTSegSettings.model_validate(values, strict=False)

    def choose(self, prior: str, seed: int) -> tuple[DeSTSegTrainer, BranchChoice, Batch]:
        """Run the last pass with a prior, and choose; a seed draws anomalies and memory."""
        torch.manual_seed(seed)
        sampler = self.sampler
        size_hw = self.detector.manifest.size_hw
        trainer = DeSTSegTrainer(self.settings(prior), size_hw, self.teacher)
        trainer.module.load_state_dict(self.detector.module.state_dict(), strict=False)
        trainer.expect(len(sampler.indices))
        for phase in trainer.phases:
            if phase.name == FITTING:
                trainer.begin(FITTING)
                for step in range(phase.steps):
                    trainer.losses(FITTING, sampler.draw(step))
        held_back = selection_batch(
            sampler.tiles, self.compared, sampler.textures, seed=seed, grey=sampler.grey
        )
        return trainer, trainer.choose(held_back), held_back


def trained(run: Run, seed: int) -> Trained:
    """Load what a training without a prior left, and divide the images as it did."""
    weights, data = run.weights(seed), run.folder(run.trained_on)
    report = json.loads(report_path(weights).read_text(encoding="utf-8"))
    detector = load_detector(weights)
    size_hw, geometry = detector.manifest.size_hw, Geometry(**report["geometry"])
    settings = DeSTSegSettings.model_validate(report["settings"], strict=False)
    normal = load_tiles(normal_images(data), Preprocess(size_hw, geometry))
    aside = SetAside(draw=settings.set_aside.draw)  # the usual shares, as `train` takes them
    split = split_by_part(normal, data, aside, geometry=geometry)
    assert split.record(normal) == detector.manifest.data_split, "other images than trained on"
    indices, compared = split.tiles(normal)
    folder = run.folder("textures")
    textures = (
        ProceduralTextures(size_hw)
        if report["textures"] == "procedural"
        else TextureFolder(folder, size_hw)
    )
    sampler = BatchSampler(normal.tiles, indices, settings.prepare_textures(textures),
                           settings.synthesis, settings.batch, seed, report["grey"])  # fmt: skip
    teacher = teacher_file(run.backbone or "resnet18", run.shared)
    return Trained(detector, report, teacher, sampler, compared)


def write_detector(given: Trained, run: Run, prior: str, seed: int) -> dict[str, Any]:
    """Write the detector with a prior as `train` would, and return its choice."""
    began = time.process_time()
    trainer, choice, held_back = given.choose(prior, seed)
    weights = replace(run, name=f"destseg+{prior}").weights(seed)
    manifest = given.detector.manifest
    score = METHOD.score(choice.config, manifest.size_hw)
    manifest = manifest.replace(score=score)
    save_detector(weights, trainer.module, manifest, choice.config)
    module = load_detector(weights).module
    with torch.inference_mode():
        figures = measure(held_back, lambda rgb: {"": module(rgb)[:2]})[""]
    cost = cost_of(module, manifest.size_hw)
    report = given.report | {
        "settings": trainer.settings.model_dump(mode="json"),
        "choice": choice.report,
        "held_back_figures": {name: figures[name] for name in ("image_auroc", "pixel_ap")},
        "parameters": cost.parameters,
        "gflops": round(cost.flops / 1e9, 2),
        "from": run.weights(seed).name,
        "processor_minutes": given.report["processor_minutes"] + (time.process_time() - began) / 60,
    }
    write_text(report_path(weights), json.dumps(report, indent=1))
    return choice.report


def summary(draws: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean figures of each prior with its best branch, and how often auto took it."""
    figures: dict[str, float] = {}
    for prior in PRIORS[:-1]:
        rows = [_best_with(prior, draw["measured"]) for draw in draws]
        figures |= {f"{prior}: {name}": mean(row[name] for row in rows) for name in FIGURES}
        figures[f"{prior}: taken"] = sum(draw["prior"] == prior for draw in draws)
    return figures


def _best_with(prior: str, measured: dict[str, Any]) -> dict[str, Any]:
    rows = [row for title, row in measured.items() if (title.partition("+")[2] or "none") == prior]
    best: dict[str, Any] = max(rows, key=lambda row: row["selection_score"])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--data", default="line,magnetic_tile,aitex_fabric_01")
    parser.add_argument("--seed", type=int, default=0, help="Of the training.")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--side", type=int, help="Of the input, in place of the method's.")
    parser.add_argument("--backbone", choices=tuple(CHANNELS), help="In place of ResNet-18.")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for data in options.data.split(","):
        run = Run("destseg", data, options.shared, options.out, options.side, options.backbone)
        given = trained(run, options.seed)
        first = [write_detector(given, run, prior, options.seed) for prior in PRIORS[1:]][-1]
        seeds = range(options.seed + 1, options.seed + options.draws)
        draws = [first, *(given.choose("auto", seed)[1].report for seed in seeds)]
        metrics = {"data": data, **summary(draws), "load_average": os.getloadavg()[0]}
        settings = {
            "seed": options.seed,
            "draws": options.draws,
            "settings": given.report["settings"],
        }
        label = "-".join(filter(None, (run.label, options.backbone, str(options.seed))))
        path = write_result("priors", label, "fp32", metrics=metrics,
                            settings=settings, samples={"draws": draws})  # fmt: skip
        print(path, json.dumps(metrics), flush=True)


if __name__ == "__main__":
    main()
