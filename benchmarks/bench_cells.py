"""Compare how a memory bank scales its features, on parts set aside that change with each draw.

    python benchmarks/bench_cells.py --shared ../shared
    python benchmarks/bench_cells.py --data line --choices plain,root --draws 0,1
    python benchmarks/bench_cells.py --choices plain+gaussian,unit+gaussian --label gaussian
    python benchmarks/bench_cells.py --draws 3,4,5 --label score \\
        --choices 'plain,plain/plain+residual'

No test image is read. Each draw divides the parts again: to remember, to compare by with synthetic
anomalies of every kind, and to set a threshold by, the highest score of these.

What may take the place of plain cells in a preset, fixed before these figures were seen: the mean
over the sets must rise by at least 0.010, of the image AUROC and of the pixel AP, and no set may
lose more than 0.010 of either. Of several the highest selection score is taken. The end of a run
prints what each choice gains. Behind `/` another distance gives the score and leaves the map as it
is; then the image AUROC alone must pass.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple, cast

import numpy as np
import torch
from bench_inputs import ROI, numbers  # the script's own folder is on the path
from method_seeds import LINES, SETS, SIDES, Run, teacher_file
from numpy.typing import NDArray
from results import write_result
from torch import Tensor

from edge_ad.dataset import normal_images
from edge_ad.evaluation.ranking import auroc, average_precision
from edge_ad.geometry import Geometry
from edge_ad.methods.layers.backbone import CHANNELS, load_backbone
from edge_ad.methods.layers.gaussian_distance import GaussianDistance, Moments
from edge_ad.methods.layers.map_upscale import MapUpscale, default_sigma
from edge_ad.methods.layers.patch_features import Cells, PatchFeatures
from edge_ad.methods.learning.coreset import greedy_coreset
from edge_ad.methods.patchcore.network import PatchCoreConfig
from edge_ad.parts import assign_parts
from edge_ad.preprocess import Preprocess
from edge_ad.synthesis.blend import is_grey
from edge_ad.synthesis.kinds import KINDS
from edge_ad.synthesis.textures import TextureFolder
from edge_ad.training.data import NormalTiles, load_tiles
from edge_ad.training.input_size import ratio_of_parts, size_for, sizes_of
from edge_ad.training.selection import selection_batch

CHOICES = ("plain", "root", "damped", "unit", "plain+residual")
ASIDE = 0.15  # share of the parts for each of the two uses that remember nothing
REMEMBERED, NORMAL, SAMPLES = 96, 48, 63  # tiles, which bound the cost of a draw
ROWS, CANDIDATES = 600, 16_000
STEP = 2  # every second pixel in each direction counts for pixel AP
LEAST_GAIN, LARGEST_LOSS = 0.010, 0.010
FIGURES = ("image_auroc", "pixel_ap", "caught", "rejected", "normal_spread")


Distance = Callable[[Tensor], Tensor]
Maps = dict[str, Tensor]  # (N, H, W), by use
TRIED: dict[str, Callable[[Tensor], Tensor]] = {  # by level (N, C, h, w)
    "root": torch.sqrt,  # of each value, power normalisation (Perronnin et al., ECCV 2010)
    "damped": lambda x: x * torch.rsqrt(x.square().sum(dim=1, keepdim=True).sqrt() + 1e-6),
}


class Levels(NamedTuple):
    """The backbone's maps of some tiles, and the part that each tile shows."""

    maps: list[Tensor]
    part: Tensor


class Draw(NamedTuple):
    """What one division of the parts gives: level maps of each use, and the anomalies' masks."""

    remembered: Levels
    normal: Levels
    threshold: Levels
    anomalous: Levels
    mask: NDArray[np.bool_]
    kind: NDArray[np.str_]


class Bench:
    """A data set's normal tiles with their parts, and the frozen backbone."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        data = options.shared / "data"
        folder = Run("patchcore", name, options.shared, options.out).folder(name)
        geometry = Geometry(roi_xywh=ROI) if name in LINES else Geometry()
        paths = normal_images(folder)
        ratio = ratio_of_parts(sizes_of(paths), geometry)
        self.size_hw = size_for("patchcore", PatchCoreConfig(), SIDES["patchcore"], ratio)
        self.normal = load_tiles(paths, Preprocess(self.size_hw, geometry))
        self.parts = _parts(self.normal, folder, geometry)
        self.textures = TextureFolder(data / "textures", self.size_hw)
        self.features = PatchFeatures(options.backbone, (2, 3))
        weights = teacher_file(options.backbone, options.shared)
        load_backbone(self.features.backbone, options.backbone, weights, "The bank")

    def draw(self, seed: int) -> Draw:
        """Divide the parts and draw anomalies."""
        order = np.random.default_rng(seed).permutation(len(self.parts))
        aside = max(2, round(ASIDE * len(order)))
        compared = self._tiles(order[:aside], NORMAL)
        batch = selection_batch(self.normal.tiles, compared[0], self.textures, seed=seed,
                                grey=is_grey(self.normal.tiles))  # fmt: skip
        assert batch.kind is not None
        every = torch.linspace(0, len(batch.mask) - 1, SAMPLES).round().long()
        return Draw(
            self._levels(self._tiles(order[2 * aside :], REMEMBERED)),
            self._levels(compared),
            self._levels(self._tiles(order[aside : 2 * aside], NORMAL)),
            Levels(self._maps(batch.anomalous[every]), batch.tile[every]),
            batch.mask[every, 0].bool().numpy(),
            np.array([KINDS[kind] for kind in batch.kind[every].tolist()]),
        )

    def joined(self, levels: Levels, cells: str) -> Tensor:
        """Return the patch features with cells scaled as the package does, or as tried here."""
        tried = TRIED.get(cells)
        self.features.cells = "plain" if tried else cast(Cells, cells)
        return self.features.joined([tried(x) for x in levels.maps] if tried else levels.maps)

    def _tiles(self, parts: NDArray[np.intp], count: int) -> tuple[NDArray[np.intp], Tensor]:
        """Return up to `count` tiles, one of each part in turn, and their parts."""
        longest = max(len(self.parts[part]) for part in parts)
        turns = [(self.parts[part][turn], part) for turn in range(longest) for part in parts
                 if turn < len(self.parts[part])][:count]  # fmt: skip
        return np.array([tile for tile, _ in turns]), torch.tensor([part for _, part in turns])

    def _levels(self, chosen: tuple[NDArray[np.intp], Tensor]) -> Levels:
        rgb = torch.from_numpy(self.normal.tiles[chosen[0]][..., ::-1].copy())
        return Levels(self._maps(rgb.permute(0, 3, 1, 2) / 255), chosen[1])

    def _maps(self, rgb: Tensor) -> list[Tensor]:
        net = self.features
        parts = [net.backbone(net.norm(part)) for part in torch.split(rgb, 8)]
        return [torch.cat([levels[level - 1] for levels in parts]) for level in net.levels]


def _parts(normal: NormalTiles, folder: Path, geometry: Geometry) -> list[list[int]]:
    """Return the numbers of each part's tiles."""
    number = {path: index for index, path in enumerate(normal.paths)}
    groups = assign_parts(normal.paths, root=folder, geometry=geometry).groups()
    return [[number[path] for path in group] for group in groups.values()]


def distance_of(kind: str, features: Tensor, part: Tensor) -> Distance:
    """Return what takes features to distances (N, 1, h, w) from those of normal tiles (N, D, h, w).

    `kind` is empty for the nearest remembered row, `gaussian` for the Mahalanobis distance, or
    `residual`: distances to the nearest row are divided by how patches differ from the nearest row
    of another part, so that directions in which unseen normal parts stray count less. The
    covariance of these residuals gets its mean variance added in every direction.
    """
    if kind == "gaussian":
        moments, gaussian = Moments(features.shape[1]), GaussianDistance(features.shape[1])
        moments.add(features)
        moments.fill(gaussian)
        return gaussian
    patches = _rows(features)
    few = torch.randperm(len(patches))[:CANDIDATES]
    owner = part.repeat_interleave(len(patches) // len(part))[few]
    patches = patches[few]
    chosen = greedy_coreset(patches, ROWS)
    rows, weight = patches[chosen], torch.eye(patches.shape[1])
    if kind == "residual":
        weight = _whitening(patches - rows[nearest(patches, rows, owner, owner[chosen])[1]])
        scaled = patches @ weight
        rows = scaled[greedy_coreset(scaled, ROWS)]

    def distance(values: Tensor) -> Tensor:
        squares = nearest(_rows(values) @ weight, rows)[0].clamp(min=0)
        return squares.view(len(values), 1, *values.shape[2:])

    return distance


def _whitening(residuals: Tensor) -> Tensor:
    """Return the inverse root of the covariance of residuals (n, D), as (D, D)."""
    variances, directions = torch.linalg.eigh((residuals.T @ residuals / len(residuals)).double())
    scale = (variances.clamp(min=0) + variances.mean()).sqrt()
    weight: Tensor = (directions / scale).float()
    return weight


def nearest(
    patches: Tensor, rows: Tensor, owner: Tensor | None = None, row_owner: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the squared distance of patches (n, D) to the nearest row, and its number.

    With owners, rows of a patch's own part do not count.
    """
    squares, results = rows.square().sum(dim=1), []
    for start in range(0, len(patches), 8192):
        part = patches[start : start + 8192]
        distances = squares - 2 * part @ rows.T + part.square().sum(dim=1, keepdim=True)
        if owner is not None and row_owner is not None:
            distances[owner[start : start + 8192, None] == row_owner] = torch.inf
        results.append(distances.min(dim=1))
    return torch.cat([r.values for r in results]), torch.cat([r.indices for r in results])


def _rows(features: Tensor) -> Tensor:
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def figures(maps: Maps, scored: Maps, draw: Draw) -> dict[str, float]:
    """Return the figures of maps (N, H, W) by use, with the maxima of `scored` as image scores.

    Image AUROC is the mean over the kinds. `caught` and `rejected` are the shares of anomalous and
    of normal tiles above the threshold; `normal_spread` the deviation of the logarithm of scores.
    """
    scores = {use: values.flatten(1).amax(dim=1).numpy() for use, values in scored.items()}
    shown = draw.mask.any(axis=(1, 2))
    by_kind = [auroc(scores["normal"], scores["anomalous"][shown & (draw.kind == kind)])
               for kind in np.unique(draw.kind[shown])]  # fmt: skip
    few = (slice(None), slice(None, None, STEP), slice(None, None, STEP))
    mask, anomalous = draw.mask[few], maps["anomalous"][few].numpy()
    pixels = np.concatenate([maps["normal"][few].numpy().ravel(), anomalous[~mask]])
    threshold = scores["threshold"].max()
    return {
        "image_auroc": float(np.mean(by_kind)),
        "pixel_ap": average_precision(pixels, anomalous[mask]),
        "caught": float((scores["anomalous"][shown] > threshold).mean()),
        "rejected": float((scores["normal"] > threshold).mean()),
        "normal_spread": float(np.log(scores["normal"]).std()),
    }


def compare(bench: Bench, draw: Draw, choice: str, seed: int) -> dict[str, float]:
    """Return the figures of the map of a choice, with the scores of the one behind `/`, if any."""
    shown, _, scored = choice.partition("/")
    maps = _maps(bench, draw, shown, seed)
    return figures(maps, _maps(bench, draw, scored, seed) if scored else maps, draw)


def _maps(bench: Bench, draw: Draw, choice: str, seed: int) -> Maps:
    """Return the maps by cells and, behind a plus, another distance than the nearest row's."""
    torch.manual_seed(seed)
    cells, _, kind = choice.partition("+")
    remembered = bench.joined(draw.remembered, cells)
    distance = distance_of(kind, remembered, draw.remembered.part)
    grid_hw = bench.features.grid(bench.size_hw)
    upscale = MapUpscale(grid_hw, bench.size_hw, default_sigma(bench.size_hw))
    uses = ("normal", "threshold", "anomalous")
    return {use: upscale(distance(bench.joined(getattr(draw, use), cells))) for use in uses}


@torch.inference_mode()
def measure_set(name: str, options: argparse.Namespace) -> Path:
    """Compare all choices on a data set, print them, and write the result file."""
    bench, samples = Bench(name, options), dict[str, list[dict[str, float]]]()
    for seed in options.draws:
        draw = bench.draw(seed)
        for choice in options.choices:
            values = compare(bench, draw, choice, seed)
            samples.setdefault(choice, []).append(values)
            print(name, seed, choice, {k: round(v, 3) for k, v in values.items()}, flush=True)
    metrics = {
        f"{choice}: {figure}": mean(draw[figure] for draw in draws)
        for choice, draws in samples.items()
        for figure in FIGURES
    }
    settings = {"draws": options.draws, "remembered": REMEMBERED, "normal": NORMAL,
                "samples": SAMPLES, "rows": ROWS, "parts": len(bench.parts)}  # fmt: skip
    label = f"{name}_{options.label}" if options.label else name
    return write_result("cells", label, "fp32", metrics=metrics, settings=settings, samples=samples)


def gains(files: Sequence[Path]) -> list[str]:
    """Return a line for each choice: its gains on the first, mean and least over the sets."""
    results = [json.loads(path.read_text("utf-8")) for path in files]
    first, *others = results[0]["samples"]
    lines = []
    for choice in others:
        words, accepted = [], True
        for figure in ("image_auroc",) if "/" in choice else ("image_auroc", "pixel_ap"):
            gained = [result["metrics"][f"{choice}: {figure}"]
                      - result["metrics"][f"{first}: {figure}"] for result in results]  # fmt: skip
            words.append(f"{figure} {mean(gained):+.3f}, least {min(gained):+.3f}")
            accepted &= mean(gained) >= LEAST_GAIN and min(gained) >= -LARGEST_LOSS
        lines.append(f"{choice}: {'; '.join(words)}: {'may' if accepted else 'may not'} be taken")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    sets = ",".join(name for name in SETS if name == "line" or name not in LINES)
    parser.add_argument("--data", default=sets, help="Data sets, separated by commas.")
    parser.add_argument("--choices", default=",".join(CHOICES))
    parser.add_argument("--backbone", choices=tuple(CHANNELS), default="resnet18")
    parser.add_argument("--label", help="Behind the data set's name, for other choices.")
    parser.add_argument("--draws", type=numbers, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    options = parser.parse_args()
    options.choices = options.choices.split(",")
    torch.set_num_threads(options.threads)
    files = [measure_set(name, options) for name in options.data.split(",")]
    print(*files, *gains(files), sep="\n")


if __name__ == "__main__":
    main()
