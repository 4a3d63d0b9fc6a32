"""Choose the input of a memory bank by the smallest defect: its size, and the levels it compares.

A larger input and finer levels show smaller defects and cost several times as much; whether they
separate better depends on the product, too. So each is measured on parts set aside, with synthetic
anomalies as small as the defect that is to be caught, and larger ones.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.frame import Image
from edge_ad.methods.layers.backbone import load_backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.coreset import greedy_coreset
from edge_ad.methods.patchcore.network import PatchCore, PatchCoreConfig
from edge_ad.synthesis.blend import is_grey
from edge_ad.synthesis.kinds import FINE, KINDS, anomaly_of
from edge_ad.training.data import batch_of, scale_of
from edge_ad.training.input_size import size_for
from edge_ad.training.loop import Interrupted
from edge_ad.training.network_cost import count_flops
from edge_ad.training.train_config import Loaded, TrainConfig, load, textures_of, with_sizes

LEAST_PX = 1.0  # across, at the largest input; no detector sees less
DRAWS = 3  # of anomalies and memories
REMEMBERED, ROWS, PER_TILE = 48, 600, 256  # tiles, rows and patches of a tile, which bound the cost
COMPARED, EACH_SMALL, EACH_LARGE = 24, 14, 6  # normal tiles; anomalies of each kind
WIDEST = 1.5  # times the smallest defect's size, up to which small anomalies are drawn
NEAR = 0.01  # of the mean image AUROC, below which no difference counts
METHOD = "patchcore"


class Input(NamedTuple):
    """One input to try: its size, and the settings of the network that differ from the preset."""

    size_hw: SizeHW
    changes: dict[str, Any]


@dataclass(frozen=True)
class InputFigures:
    """Image AUROC of one input by draw, on anomalies of the smallest size and on larger ones.

    `defect_px` is how large the smallest defect is in this input.
    """

    tried: Input
    levels: tuple[int, ...]
    defect_px: float
    gflops: float
    small: tuple[float, ...]
    large: tuple[float, ...]

    @property
    def by_draw(self) -> tuple[float, ...]:
        """Return the mean of both for each draw; the higher the better."""
        return tuple(map(mean, zip(self.small, self.large, strict=True)))


@dataclass(frozen=True)
class InputChoice:
    """What each input reached, and the number of the one to take."""

    figures: tuple[InputFigures, ...]
    chosen: int

    def report(self) -> list[dict[str, Any]]:
        """Return a row for each input."""
        return [
            {
                "size_hw": list(one.tried.size_hw),
                "levels": list(one.levels),
                "defect_px": round(one.defect_px, 2),
                "gflops": round(one.gflops, 2),
                "image_auroc_small": [round(value, 4) for value in one.small],
                "image_auroc_large": [round(value, 4) for value in one.large],
                "chosen": number == self.chosen,
            }
            for number, one in enumerate(self.figures)
        ]


@torch.inference_mode()
def choose_input(
    config: TrainConfig, stop: threading.Event
) -> tuple[TrainConfig, InputChoice, Loaded | None]:
    """Compare inputs for `smallest_defect_px`; return the configuration with the chosen one.

    The images are those read for the comparison, None where the chosen input has another size.
    Takes about three minutes of one core. torch's generator is left as it was. Raises UsageError
    where the defect is too small for the largest input, and Interrupted when `stop` is set.
    """
    assert config.smallest_defect_px is not None
    side = config.size_hw[0]
    largest = with_sizes(config)
    loaded = load(largest)
    scale = scale_of(loaded.normal, largest.size_hw)
    check_visible(config.smallest_defect_px, scale, config)
    with torch.random.fork_rng(devices=[]):
        comparison = _Comparison(largest, loaded, config.smallest_defect_px * scale)
        measured = comparison.figures(_inputs(largest, side), stop)
        figures = tuple(sorted(measured, key=lambda one: one.gflops))
    choice = InputChoice(figures, chosen_of(figures))
    tried = figures[choice.chosen].tried
    network = config.settings.network.model_copy(update=tried.changes)
    settings = config.settings.model_copy(update={"network": network})
    chosen = replace(config, settings=settings, size_hw=tried.size_hw, keep_aspect=False)
    same_size = chosen.size_hw == largest.size_hw
    return replace(chosen, smallest_defect_px=None), choice, loaded if same_size else None


def check_visible(defect_px: float, scale: float, config: TrainConfig) -> None:
    """Raise UsageError for a defect that no input of those to try can show, or holds."""
    shown_px = defect_px * scale
    option = (
        f"--smallest-defect-px {defect_px:g}: in the largest input to try, {config.size_hw[0]} "
        "pixels a side, this is"
    )
    if shown_px < LEAST_PX:
        raise UsageError(f"{option} {shown_px:.2f} pixels; {_enlarged(shown_px, config)}")
    if shown_px > min(config.size_hw):
        raise UsageError(
            f"{option} {shown_px:.0f} pixels. Give the width of the smallest defect to catch, in "
            "pixels of the images."
        )


def _enlarged(shown_px: float, config: TrainConfig) -> str:
    """Return what shows a defect that has too few pixels."""
    rows, columns = config.geometry.tiles or (1, 1)
    more = math.ceil(2 * LEAST_PX / shown_px)  # so that a defect has two pixels
    return (
        f"{LEAST_PX:g} at least can be seen. Judge less of the image with --roi, or in tiles: "
        f"--tiles {rows * more}x{columns * more}; or allow a larger input: --size "
        f"{16 * math.ceil(config.size_hw[0] / shown_px / 16)}."
    )


def chosen_of(figures: Sequence[InputFigures]) -> int:
    """Return the number of the cheapest input that is not clearly worse than the best.

    Worse by less than one deviation of the difference from draw to draw, or by less than 0.01, is
    chance. Inputs are ordered by their cost.
    """
    best = max(figures, key=lambda one: mean(one.by_draw))
    for number, one in enumerate(figures):
        behind = [top - own for top, own in zip(best.by_draw, one.by_draw, strict=True)]
        if mean(behind) <= max(NEAR, stdev(behind) if len(behind) > 1 else 0.0):
            return number
    raise AssertionError("the best is behind itself")


def _inputs(largest: TrainConfig, side: int) -> list[Input]:
    """Return the inputs to try: half the side, all of it, and all of it with finer levels."""
    height, width = largest.size_hw
    network = largest.settings.network
    half = size_for(METHOD, network, side // 2, height / width)
    return [
        Input(half, {}),
        Input(largest.size_hw, {}),
        Input(largest.size_hw, {"levels": (1, 2), "smooth_sigma": 4.0}),  # preset `fine`
    ]


class _Comparison:
    """Tiles at the largest size, to remember and to compare by."""

    def __init__(self, config: TrainConfig, loaded: Loaded, defect_px: float) -> None:
        self._config, self._tiles = config, loaded.normal.tiles
        self._trained, self._compared = loaded.split.tiles(loaded.normal)
        self._textures, self._grey = textures_of(config), is_grey(self._tiles)
        self._defect_px = defect_px

    def figures(self, inputs: Sequence[Input], stop: threading.Event) -> list[InputFigures]:
        """Return what each input reaches in all draws; one draw is in memory at a time."""
        nets = [self._untrained(tried) for tried in inputs]
        reached: list[list[tuple[float, float]]] = [[] for _ in nets]
        for number in range(DRAWS):
            remembered, batch = self._draw(number)
            for net, results in zip(nets, reached, strict=True):
                torch.manual_seed(self._config.seed + number)
                _remember(net, remembered, stop)
                results.append(_measured(net, batch, stop))
        return [self._row(*one) for one in zip(inputs, reached, strict=True)]

    def _row(self, tried: Input, results: Sequence[tuple[float, float]]) -> InputFigures:
        network = self._network(tried)
        with torch.device("meta"):
            gflops = count_flops(PatchCore(network, tried.size_hw), tried.size_hw) / 1e9
        shrink = math.sqrt(math.prod(tried.size_hw) / math.prod(self._config.size_hw))
        small, large = zip(*results, strict=True)
        return InputFigures(tried, network.levels, self._defect_px * shrink, gflops, small, large)

    def _network(self, tried: Input) -> PatchCoreConfig:
        network = self._config.settings.network.model_copy(update=tried.changes)
        assert isinstance(network, PatchCoreConfig)
        return network

    def _untrained(self, tried: Input) -> PatchCore:
        """Return a small memory bank that remembers nothing yet."""
        network = self._network(tried).model_copy(update={"rows": ROWS})
        net = PatchCore(network, tried.size_hw).eval()
        load_backbone(net.features.backbone, network.backbone, self._config.teacher, "PatchCore")
        return net

    def _draw(self, number: int) -> tuple[Image, Batch]:
        """Return tiles to remember, and others with anomalies of every kind."""
        rng = np.random.default_rng([self._config.seed, 5, number])
        remembered = self._tiles[np.sort(_some(self._trained, REMEMBERED, rng))]
        compared = _some(self._compared, COMPARED, rng)
        kinds = [kind for kind in KINDS for _ in range(EACH_SMALL if kind in FINE else EACH_LARGE)]
        tiles = [int(compared[place % len(compared)]) for place in rng.permutation(len(kinds))]
        across = (self._defect_px, WIDEST * self._defect_px)
        samples = [
            anomaly_of(kind, self._tiles[tile], self._textures, rng, grey=self._grey, across=across)
            for kind, tile in zip(kinds, tiles, strict=True)
        ]
        batch = batch_of(samples, tiles)
        numbers = torch.tensor([KINDS.index(kind) for kind in kinds])
        return remembered, batch._replace(kind=numbers, mask=_coarse(batch.mask))


def _remember(net: PatchCore, tiles: Image, stop: threading.Event) -> None:
    """Fill a small memory bank with patches of some tiles."""
    patches = []
    for tile in tiles:
        _go_on(stop)
        rgb = torch.from_numpy(tile[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
        rows = net.features(_shrunk(rgb, net.size_hw))[0].flatten(1).T
        patches.append(rows[torch.randperm(len(rows))[:PER_TILE]])
    collected = torch.cat(patches)
    net.remember(collected[greedy_coreset(collected, ROWS)])


def _measured(net: PatchCore, batch: Batch, stop: threading.Event) -> tuple[float, float]:
    """Return the image AUROC on anomalies of the smallest size, and on the larger kinds."""

    def branches(rgb: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        _go_on(stop)
        maps, scores = net(_shrunk(rgb, net.size_hw))
        return {"map": (_coarse(maps[:, None])[:, 0], scores)}

    by_kind = measure(batch, branches)["map"].get("by_kind", {})
    small = [value for kind, value in by_kind.items() if kind in FINE]
    large = [value for kind, value in by_kind.items() if kind not in FINE]
    return mean(small or [0.5]), mean(large or [0.5])


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise Interrupted


def _shrunk(rgb: Tensor, size_hw: SizeHW) -> Tensor:
    return rgb if rgb.shape[2:] == size_hw else F.interpolate(rgb, size=size_hw, mode="area")


def _coarse(values: Tensor) -> Tensor:
    """Return maps or masks (N, 1, H, W) as 32x32 maxima: only image scores are compared."""
    return F.adaptive_max_pool2d(values, (32, 32))


def _some(numbers: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return rng.permutation(numbers)[:count]
