"""Synthetic damage: a texture blended into a good tile, or marks like those real parts bear."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edge_ad.frame import Image
from edge_ad.synthesis.blend import blended, is_grey, without_colour
from edge_ad.synthesis.cut_paste import pasted
from edge_ad.synthesis.foreground import foreground
from edge_ad.synthesis.perlin import Mask, perlin_mask, rotated
from edge_ad.synthesis.structural import marked
from edge_ad.synthesis.textures import ProceduralTextures, Textures

Share = Annotated[float, Field(ge=0, le=1)]
Rotation = Literal["none", "small", "full"]
Random = np.random.Generator
REDRAWS = 20


class SynthesisConfig(BaseModel):
    """How damage is drawn. The defaults are those of DeSTSeg's released code.

    `marks_share` of the samples get marks (scratches, spots, stains, frayed and displaced areas)
    and `paste_share` a piece of the same tile in another place, in place of textures.
    `texture_weight` bounds how strongly a texture covers the part, `paste_area` the piece's share
    of the tile. `foreground` keeps damage on the part, away from a plain ground; `redraw_empty`
    draws damage again that would show nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    anomaly_share: Share = 1.0
    marks_share: Share = 0.0
    paste_share: Share = 0.0
    paste_area: tuple[Share, Share] = (0.005, 0.10)
    foreground: bool = False
    redraw_empty: bool = False
    texture_weight: tuple[Share, Share] = (0.2, 1.0)
    perlin_exp_max: Annotated[int, Field(ge=0, le=5)] = 5
    perlin_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    perlin_rotate_deg: Annotated[float, Field(ge=0, le=180)] = 90
    rotation: Rotation = "none"
    rotation_share: Share = 1.0
    rotation_small_deg: Annotated[float, Field(ge=0, le=180)] = 5
    rotation_fill: Annotated[int, Field(ge=0, le=255)] = 114


class SyntheticAnomaly(NamedTuple):
    """clean and damaged uint8 (H, W, 3) BGR; mask bool (H, W), true where damaged."""

    clean: Image
    damaged: Image
    mask: Mask


def damaged(
    tile: Image, textures: Textures, settings: SynthesisConfig, rng: Random, *, grey: bool
) -> SyntheticAnomaly:
    """Turn and damage one good tile. `grey` takes the colour out of textures."""
    clean = turned(tile, settings, rng)
    if rng.random() >= settings.anomaly_share:
        return SyntheticAnomaly(clean, clean, np.zeros(clean.shape[:2], np.bool_))
    for _ in range(REDRAWS if settings.redraw_empty else 1):
        image, mask = _drawn(clean, textures, settings, rng, grey=grey)
        if settings.foreground:
            mask &= foreground(clean)
            image = np.where(mask[..., None], image, clean)
        if mask.any():
            break
    return SyntheticAnomaly(clean, image, mask)


def _drawn(
    clean: Image, textures: Textures, settings: SynthesisConfig, rng: Random, *, grey: bool
) -> tuple[Image, Mask]:
    """One piece of damage: marks, a displaced piece of the tile itself, or a texture."""
    kind = rng.random()
    if kind < settings.marks_share:
        return marked(clean, rng, grey=grey)
    if kind < settings.marks_share + settings.paste_share:
        piece, weight = pasted(clean, rng, settings.paste_area)
        return blended(clean, piece, weight), weight >= 0.5
    mask = perlin_mask(
        (clean.shape[0], clean.shape[1]),
        rng,
        exp_max=settings.perlin_exp_max,
        threshold=settings.perlin_threshold,
        rotate_deg=settings.perlin_rotate_deg,
    )
    texture = textures.draw(rng)
    texture = without_colour(texture) if grey else texture
    low, high = settings.texture_weight
    strength = np.float32(high - rng.uniform(0, high - low))
    return blended(clean, texture, mask * strength), mask


def turned(tile: Image, settings: SynthesisConfig, rng: Random) -> Image:
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


def defective(image: Image, rng: Random) -> SyntheticAnomaly:
    """A good image of any size with a synthetic defect: marks as often as a texture.

    Grey parts get grey defects, since colour would make them trivially easy to see. The mask is
    never empty.
    """
    settings = SynthesisConfig(marks_share=0.5)
    textures = ProceduralTextures((image.shape[0], image.shape[1]))
    grey = is_grey(image[None])
    found = damaged(image, textures, settings, rng, grey=grey)
    while not found.mask.any():  # about one Perlin mask in twenty is empty
        found = damaged(image, textures, settings, rng, grey=grey)
    return found
