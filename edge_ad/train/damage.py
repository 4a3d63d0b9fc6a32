"""Synthetic damage: a texture blended into a good tile, or marks like those real parts bear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edge_ad.frame import Image
from edge_ad.train.perlin import Mask, perlin_mask, rotated
from edge_ad.train.textures import Textures, octaves

Share = Annotated[float, Field(ge=0, le=1)]
Rotation = Literal["none", "small", "full"]
Random = np.random.Generator
Drawn = NDArray[np.float32]


class DamageSettings(BaseModel):
    """How damage is drawn. The defaults are those of DeSTSeg's released code.

    `marks_share` of the samples get marks (scratches, spots, stains, frayed and displaced areas)
    in place of textures; `texture_weight` bounds how strongly damage covers the part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    anomaly_share: Share = 1.0
    marks_share: Share = 0.0
    texture_weight: tuple[Share, Share] = (0.2, 1.0)
    perlin_exp_max: Annotated[int, Field(ge=0, le=5)] = 5
    perlin_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    perlin_rotate_deg: Annotated[float, Field(ge=0, le=180)] = 90
    rotation: Rotation = "none"
    rotation_share: Share = 1.0
    rotation_small_deg: Annotated[float, Field(ge=0, le=180)] = 5
    rotation_fill: Annotated[int, Field(ge=0, le=255)] = 114


class Damaged(NamedTuple):
    """clean and damaged uint8 (H, W, 3) BGR; mask bool (H, W), true where damaged."""

    clean: Image
    damaged: Image
    mask: Mask


def damaged(
    tile: Image, textures: Textures, settings: DamageSettings, rng: Random, *, grey: bool
) -> Damaged:
    """Turn and damage one good tile. `grey` takes the colour out of textures."""
    clean = turned(tile, settings, rng)
    size_hw = (clean.shape[0], clean.shape[1])
    if rng.random() >= settings.anomaly_share:
        return Damaged(clean, clean, np.zeros(size_hw, np.bool_))
    if rng.random() < settings.marks_share:
        return marked(clean, rng, grey=grey)
    mask = perlin_mask(
        size_hw,
        rng,
        exp_max=settings.perlin_exp_max,
        threshold=settings.perlin_threshold,
        rotate_deg=settings.perlin_rotate_deg,
    )
    texture = textures.draw(rng)
    low, high = settings.texture_weight
    weight = high - rng.uniform(0, high - low)
    return Damaged(clean, blended(clean, without_colour(texture) if grey else texture,
                                  mask * np.float32(weight)), mask)  # fmt: skip


def turned(tile: Image, settings: DamageSettings, rng: Random) -> Image:
    """Turn a tile as the product allows: not at all, by a few degrees, or by quarters as well."""
    if settings.rotation == "none":
        return tile
    if settings.rotation_share < 1 and rng.random() >= settings.rotation_share:
        return tile
    if settings.rotation == "full":
        square = tile.shape[0] == tile.shape[1]
        tile = np.rot90(tile, int(rng.integers(4)) if square else 2 * int(rng.integers(2)))
    degrees = float(rng.uniform(-settings.rotation_small_deg, settings.rotation_small_deg))
    return rotated(np.ascontiguousarray(tile), degrees, fill=settings.rotation_fill)  # type: ignore[return-value]


def blended(clean: Image, texture: Image, weight: Drawn) -> Image:
    """(1 - weight) clean + weight texture; weight float32 (H, W) in 0..1."""
    share = weight[..., None]
    return np.asarray(clean + share * (texture.astype(np.float32) - clean) + 0.5, np.uint8)


def without_colour(image: Image) -> Image:
    """The picture in grey, still three channels."""
    return np.asarray(
        cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8
    )


def is_grey(tiles: Image) -> bool:
    """Whether no tile of (n, H, W, 3) shows colour: channels differ by less than 2 of 255."""
    some = tiles[:: max(1, len(tiles) // 64)].astype(np.int16)
    return bool((some.max(axis=-1) - some.min(axis=-1)).mean() < 2)


def marked(clean: Image, rng: Random, *, grey: bool) -> Damaged:
    """One to three marks of one kind on a tile."""
    draw = MARKS[list(MARKS)[int(rng.integers(len(MARKS)))]]
    weight, image = draw(clean, rng)
    if grey:
        image = without_colour(image)
    mask = cv2.dilate((weight > 0.25).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return Damaged(clean, blended(clean, image, weight), mask)


def _scratch(clean: Image, rng: Random) -> tuple[Drawn, Image]:
    """Thin wandering lines, darker or brighter than what they cross."""
    size = clean.shape[0]
    weight = np.zeros(clean.shape[:2], np.float32)
    for _ in range(int(rng.integers(1, 4))):
        steps = rng.normal(0, 0.25, 12).cumsum() + rng.uniform(0, 2 * np.pi)
        stride = rng.uniform(0.01, 0.07) * size
        path = rng.uniform(0, size, 2) + np.cumsum(
            np.stack([np.cos(steps), np.sin(steps)], 1) * stride, axis=0
        )
        thickness = max(1, round(rng.uniform(0.005, 0.025) * size))
        points = np.round(path * 8).astype(np.int32)
        cv2.polylines(
            weight,
            [points],
            isClosed=False,
            color=1.0,
            thickness=thickness,
            lineType=cv2.LINE_AA,
            shift=3,
        )
    return _soft(weight, rng.uniform(0.4, 1.0)), _shifted(clean, rng)


def _spots(clean: Image, rng: Random) -> tuple[Drawn, Image]:
    """Small round or oval holes and specks."""
    height, width = clean.shape[:2]
    weight = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        axes = tuple(int(axis) for axis in np.ceil(rng.uniform(0.008, 0.05, 2) * height))
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.ellipse(weight, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA)
    return _soft(weight, rng.uniform(0.4, 1.5)), _shifted(clean, rng)


def _stain(clean: Image, rng: Random) -> tuple[Drawn, Image]:
    """A soft-edged area of another brightness."""
    return _soft(_area(clean, rng), rng.uniform(0.5, 4)), _shifted(clean, rng)


def _frayed(clean: Image, rng: Random) -> tuple[Drawn, Image]:
    """An area of rough, grainy surface."""
    size_hw = (clean.shape[0], clean.shape[1])
    grain = octaves(size_hw, rng, first=int(rng.integers(12, 49))) - 0.5
    rough = clean + grain[..., None] * rng.uniform(60, 220) + rng.uniform(-40, 40)
    return _soft(_area(clean, rng), rng.uniform(0.5, 2)), _as_image(rough)


def _displaced(clean: Image, rng: Random) -> tuple[Drawn, Image]:
    """An area that shows another place of the same part, turned and re-lit."""
    moved = np.roll(clean, tuple(rng.integers(8, np.array(clean.shape[:2]) - 8)), axis=(0, 1))
    moved = np.ascontiguousarray(moved[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])])
    return _soft(_area(clean, rng), rng.uniform(0.3, 1)), _as_image(
        moved * rng.uniform(0.6, 1.4) + rng.uniform(-30, 30)
    )


MARKS: dict[str, Callable[[Image, Random], tuple[Drawn, Image]]] = {
    "scratch": _scratch,
    "spots": _spots,
    "stain": _stain,
    "frayed": _frayed,
    "displaced": _displaced,
}


def _area(clean: Image, rng: Random) -> Drawn:
    """An irregular patch, 1 to 15 % of the tile, as an ellipse with a ragged rim."""
    height, width = clean.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    (cy, cx), angle = rng.uniform(0, 1, 2) * (height, width), rng.uniform(0, np.pi)
    long, short = np.sqrt(height * width) * rng.uniform(0.06, 0.25, 2)
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    radius = np.hypot(along / long, across / short)
    ragged = radius + 0.8 * (octaves((height, width), rng, first=5) - 0.5)
    return np.asarray(ragged < 1, np.float32)


def _shifted(clean: Image, rng: Random) -> Image:
    """The tile made darker or brighter, by something an eye would notice."""
    step = rng.uniform(15, 110) * rng.choice([-1.0, 1.0], p=[0.65, 0.35])
    return _as_image(clean.astype(np.float32) * rng.uniform(0.3, 1.0) + step + 20)


def _soft(weight: Drawn, sigma: float) -> Drawn:
    return np.asarray(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32)


def _as_image(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
