"""Compare backbones, sizes of the input, levels and smoothing of a memory bank, on set-aside parts.

    python benchmarks/bench_inputs.py --shared ../shared
    python benchmarks/bench_inputs.py --data visa_macaroni1 --sides 224,448 --levels 23,12
    python benchmarks/bench_inputs.py --backbones resnet18,efficientnet_lite2 --sides 224,320 \\
        --levels 23 --smoothing 1

No test image is read. Anomalies are drawn on tiles of the largest side, the coarse kinds and the
fine ones (specks and hairlines, counted in pixels), and shrink with the tile to each side. Maps are
compared at the largest size. Means over the seeds, which draw anomalies and memories.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple, cast

import numpy as np
import torch
from method_seeds import LANE, LINES, Run, teacher_file  # the script's own folder is on the path
from results import write_result
from torch import Tensor
from torch.nn import functional as F

from edge_ad.dataset import normal_images
from edge_ad.geometry import Geometry
from edge_ad.methods.layers.backbone import load_backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.map_upscale import MapUpscale, default_sigma
from edge_ad.methods.layers.patch_features import Level, PatchFeatures
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.coreset import greedy_coreset
from edge_ad.methods.learning.settings import SetAside
from edge_ad.methods.patchcore.network import PatchCoreConfig
from edge_ad.preprocess import Preprocess
from edge_ad.synthesis.blend import is_grey
from edge_ad.synthesis.kinds import KINDS
from edge_ad.synthesis.textures import TextureFolder
from edge_ad.training.data import load_tiles
from edge_ad.training.input_size import ratio_of_parts, size_for, sizes_of
from edge_ad.training.part_split import split_by_part
from edge_ad.training.selection import selection_batch

SHOWN = {
    "inputs": ("image_auroc", "fine", "pixel_ap_fine", "normal_spread"),
    "backbones": ("image_auroc", "fine", "pixel_ap"),
}
FINE = ("specks", "hairline")
TILES, ROWS, CANDIDATES = 48, 600, 12_000  # bound the cost of each comparison to a minute
SAMPLES = 42  # tiles with an anomaly, as many of each kind
LEFT, TOP, WIDE, HIGH = map(int, LANE[1].split(","))
ROI = (LEFT, TOP, WIDE, HIGH)  # where a line's plates pass

Distances = Callable[[Tensor], Tensor]


class Inputs(NamedTuple):
    """Tiles to remember, at the largest size, and tiles to compare by with their anomalies."""

    remembered: Tensor
    compared: Batch
    size_hw: SizeHW


def inputs(data: Path, textures: Path, side: int, seed: int) -> Inputs:
    """Load the training images at the largest side; draw anomalies on the parts to choose by."""
    paths = normal_images(data)
    geometry = Geometry(roi_xywh=ROI) if data.name in LINES else Geometry()
    size_hw = size_for(
        "patchcore", PatchCoreConfig(), side, ratio_of_parts(sizes_of(paths), geometry)
    )
    normal = load_tiles(paths, Preprocess(size_hw, geometry))
    split = split_by_part(normal, data, SetAside(), geometry=geometry)
    trained, chosen_by = split.tiles(normal)
    batch = selection_batch(normal.tiles, chosen_by, TextureFolder(textures, size_hw),
                            seed=seed, grey=is_grey(normal.tiles))  # fmt: skip
    every = torch.linspace(0, len(batch.mask) - 1, SAMPLES).round().long()
    assert batch.kind is not None
    compared = Batch(*(part[every] for part in batch[:4]))._replace(kind=batch.kind[every])
    kept = trained[torch.linspace(0, len(trained) - 1, TILES).round().long().numpy()]
    rgb = torch.from_numpy(normal.tiles[kept][..., ::-1].copy()).permute(0, 3, 1, 2) / 255
    return Inputs(rgb, compared, size_hw)


def cells_of(given: Inputs, side_hw: SizeHW, features: PatchFeatures) -> Distances:
    """Remember normal patches at a size; return what takes tiles to distances (N, 1, h, w)."""

    def patches(rgb: Tensor) -> Tensor:
        joined: Tensor = features(F.interpolate(rgb, size=side_hw, mode="area"))
        return joined

    parts = [patches(rgb) for rgb in torch.split(given.remembered, 8)]
    rows = torch.cat(parts).permute(0, 2, 3, 1).flatten(0, 2)
    rows = rows[torch.randperm(len(rows))[:CANDIDATES]]
    memory = rows[greedy_coreset(rows, ROWS)]

    def cells(rgb: Tensor) -> Tensor:
        found = patches(rgb).permute(0, 2, 3, 1)
        nearest = torch.cdist(found.flatten(0, 2), memory).amin(dim=1).square()
        return nearest.view(found.shape[:3])[:, None]

    return cells


def compare(given: Inputs, cells: Distances, smoothing: list[float]) -> dict[str, dict[str, float]]:
    """Return image AUROC of all, coarse and fine kinds and pixel AP, by smoothing.

    `normal_spread`, the deviation of the logarithm of normal tiles' scores, needs no anomaly: a
    detector to which all normal parts look alike leaves more room for anomalies.
    """

    def branches(rgb: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        grid, outputs = cells(rgb), {}
        for factor in smoothing:
            sigma = factor * default_sigma(given.size_hw)
            grid_hw = (grid.shape[2], grid.shape[3])
            values = MapUpscale(grid_hw, given.size_hw, sigma)(grid)
            outputs[f"{factor:g}"] = (values, values.flatten(1).amax(dim=1))
        return outputs

    compared = given.compared
    assert compared.kind is not None
    fine = torch.tensor([KINDS[kind] in FINE for kind in compared.kind.tolist()])
    fine_part = Batch(*(part[fine] for part in compared[:4]))._replace(kind=compared.kind[fine])
    measured, measured_fine = measure(compared, branches), measure(fine_part, branches)
    normal = compared.normal[np.unique(compared.tile.numpy(), return_index=True)[1]]
    spread = {factor: float(s.log().std()) for factor, (_, s) in branches(normal).items()}
    return {
        factor: {
            "coarse": mean(v for kind, v in figures["by_kind"].items() if kind not in FINE),
            "fine": mean(v for kind, v in figures["by_kind"].items() if kind in FINE),
            "image_auroc": figures["image_auroc"],
            "pixel_ap": figures["pixel_ap"],
            "pixel_ap_fine": measured_fine[factor]["pixel_ap"],
            "normal_spread": spread[factor],
        }
        for factor, figures in measured.items()
    }


@torch.inference_mode()
def measure_set(name: str, options: argparse.Namespace) -> Path:
    """Compare all choices on a data set, print them, and write the result file."""
    data = options.shared / "data"
    folder = Run("patchcore", name, data.parent, options.out).folder(name)
    samples: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        given = inputs(folder, data / "textures", max(options.sides), seed)
        ratio = given.size_hw[0] / given.size_hw[1]
        for backbone, side, levels in product(options.backbones, options.sides, options.levels):
            torch.manual_seed(seed)
            features = PatchFeatures(backbone, cast("tuple[Level, ...]", tuple(map(int, levels))))
            weights = teacher_file(backbone, options.shared)
            load_backbone(features.backbone, backbone, weights, "The bank")
            cells = cells_of(given, size_for("patchcore", PatchCoreConfig(), side, ratio), features)
            shown = f"{backbone}, " if len(options.backbones) > 1 else ""
            for factor, figures in compare(given, cells, options.smoothing).items():
                key = f"{shown}{side} px, levels {'+'.join(levels)}, smoothing {factor}"
                samples.setdefault(key, []).append(figures)
                print(name, seed, key, {k: round(v, 3) for k, v in figures.items()}, flush=True)
    settings = {"seeds": options.seeds, "tiles": TILES, "rows": ROWS, "samples": SAMPLES}
    bench = "backbones" if len(options.backbones) > 1 else "inputs"
    return write_result(bench, name, "fp32", metrics=summary(samples, SHOWN[bench]),
                        settings=settings, samples=samples)  # fmt: skip


def summary(samples: dict[str, list[dict[str, float]]], shown: Sequence[str]) -> dict[str, float]:
    """Return the means over the seeds of the figures shown, each named after its choice."""
    return {
        f"{choice}: {figure}": mean(seed[figure] for seed in seeds)
        for choice, seeds in samples.items()
        for figure in shown
    }


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--data", default="visa_macaroni1,magnetic_tile,mvtec_bottle")
    parser.add_argument("--sides", type=numbers, default=[224, 448])
    parser.add_argument("--levels", type=lambda text: text.split(","), default=["23", "12"])
    parser.add_argument("--backbones", type=lambda text: text.split(","), default=["resnet18"])
    parser.add_argument("--smoothing", type=float, nargs="+", default=[1.0, 0.5])
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.data.split(","):
        print(measure_set(name, options))


if __name__ == "__main__":
    main()
