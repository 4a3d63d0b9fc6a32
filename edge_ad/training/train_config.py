"""What a training is asked for, and the images it begins with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from edge_ad.dataset import list_normal_images, normal_images
from edge_ad.geometry import Geometry
from edge_ad.images import BitDepth, find_depth, reading
from edge_ad.methods.learning.settings import TrainingSettings
from edge_ad.parts import How
from edge_ad.preprocess import Preprocess
from edge_ad.synthesis.textures import ProceduralTextures, TextureFolder, Textures
from edge_ad.training.data import NormalTiles, load_tiles
from edge_ad.training.device import Arithmetic
from edge_ad.training.input_size import common_size, ratio_of_parts, size_for, sizes_of
from edge_ad.training.part_split import PartSplit, split_by_part


@dataclass(frozen=True)
class TrainConfig:
    """A training: method, data, output and options.

    With `keep_aspect`, `size_hw` (square) gives the input's area, and the parts its ratio. `folds`
    is the number of further trainings for the threshold, see `cross_fitting`; 0 sets parts aside.
    `smallest_defect_px`, in pixels of the images, chooses the input, see `input_choice`; `size_hw`
    is then the largest one to try.
    """

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
    checkpoint_every_s: float = 300.0
    resume: bool = False
    bit_depth: int | None = None
    part_id: str | None = None
    parts_from: How | None = None
    keep_aspect: bool = False
    folds: int = 0
    smallest_defect_px: float | None = None


class Loaded(NamedTuple):
    """The images as tiles, divided by part, and their bit depth."""

    normal: NormalTiles
    split: PartSplit
    depth: BitDepth


def with_sizes(config: TrainConfig) -> TrainConfig:
    """Return the configuration with what the images say of sizes.

    The size of their frames where the geometry counts their pixels, and the input's size that keeps
    the parts' ratio, where asked for. Raises UsageError when the geometry does not fit an image.
    """
    counts_pixels = config.geometry.counts_pixels
    if not (config.keep_aspect or counts_pixels):
        return config
    paths = list_normal_images(config.data)
    with reading(_depth(config, paths)):
        sizes = sizes_of(paths)
    if counts_pixels:
        frame_wh = common_size(sizes)
        config = replace(config, geometry=config.geometry.replace(frame_wh=frame_wh))
    if not config.keep_aspect:
        return config
    ratio = ratio_of_parts(sizes, config.geometry)
    size = size_for(config.method, config.settings.network, config.size_hw[0], ratio)
    return replace(config, size_hw=size, keep_aspect=False)


def load(config: TrainConfig) -> Loaded:
    """Read the images and divide them by part."""
    paths = normal_images(config.data)
    depth = _depth(config, paths)
    with reading(depth):
        normal = load_tiles(paths, Preprocess(config.size_hw, config.geometry))
        split = split_by_part(
            normal,
            config.data,
            config.settings.set_aside,
            geometry=config.geometry,
            part_id=config.part_id,
            how=config.parts_from,
            folds=config.folds,
        )
    return Loaded(normal, split, depth)


def textures_of(config: TrainConfig) -> Textures:
    """Return the textures to blend in: of the folder, or generated ones."""
    if config.textures is None:
        return ProceduralTextures(config.size_hw)
    return TextureFolder(config.textures, config.size_hw)


def _depth(config: TrainConfig, paths: list[Path]) -> BitDepth:
    return find_depth(paths, BitDepth(config.bit_depth) if config.bit_depth else None)
