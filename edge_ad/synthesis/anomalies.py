"""Synthetic anomalies on tiles of normal parts, each with its ground-truth mask.

Three kinds: a texture blended in under a Perlin-noise mask (DRAEM, section 3.3; DeSTSeg), a piece
of the same tile pasted elsewhere (CutPaste), and structural defects like those of real parts.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.synthesis.blend import blend, is_grey, to_grey
from edge_ad.synthesis.cut_paste import cut_paste
from edge_ad.synthesis.foreground import foreground_mask
from edge_ad.synthesis.light import vary_light
from edge_ad.synthesis.perlin import Mask, perlin_mask, rotate
from edge_ad.synthesis.structural import add_structural_defect
from edge_ad.synthesis.textures import ProceduralTextures, Textures

Share = Annotated[float, Field(ge=0, le=1)]
Rotation = Literal["none", "small", "full"]
Random = np.random.Generator
REDRAWS = 20


class SynthesisConfig(BaseModel):
    """Settings of the synthetic anomalies. The defaults are those of DeSTSeg's released code.

    Of the anomalous samples, `structural_share` get structural defects (scratches, spots, stains,
    frayed and displaced areas), `cut_paste_share` a piece of the same tile in another place, and
    the others a texture. `texture_weight` bounds the opacity of a texture, `cut_paste_area` the
    piece's share of the tile. `foreground` keeps anomalies on the part, away from a plain
    background; `match_colour` makes textures grey where the parts are; `redraw_empty` draws again
    when the mask is empty. `exposure` varies the light of normal tiles by up to so many stops
    (factors of two), see `light.vary_light`; 0 leaves it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    anomaly_share: Share = 1.0
    structural_share: Share = 0.0
    cut_paste_share: Share = 0.0
    cut_paste_area: tuple[Share, Share] = (0.005, 0.10)
    foreground: bool = False
    redraw_empty: bool = False
    match_colour: bool = True
    texture_weight: tuple[Share, Share] = (0.2, 1.0)
    perlin_exp_max: Annotated[int, Field(ge=0, le=5)] = 5
    perlin_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    perlin_rotate_deg: Annotated[float, Field(ge=0, le=180)] = 90
    rotation: Rotation = "none"
    rotation_share: Share = 1.0
    rotation_small_deg: Annotated[float, Field(ge=0, le=180)] = 5
    rotation_fill: Annotated[int, Field(ge=0, le=255)] = 114
    exposure: Annotated[float, Field(ge=0, le=2)] = 0.0

    @property
    def keeps_tiles(self) -> bool:
        """Return whether a tile is the same in every batch, so that its features can be cached."""
        return self.rotation == "none" and self.exposure == 0


class SyntheticAnomaly(NamedTuple):
    """A normal tile, its anomalous copy, uint8 (H, W, 3) BGR, and the mask, bool (H, W)."""

    normal: Image
    anomalous: Image
    mask: Mask


def synthesize(
    tile: Image, textures: Textures, settings: SynthesisConfig, rng: Random, *, grey: bool
) -> SyntheticAnomaly:
    """Rotate one normal tile and vary its light as the settings allow, and add an anomaly.

    `grey` removes the colour from textures and structural defects.
    """
    normal = random_rotation(tile, settings, rng)
    if settings.exposure:
        normal = vary_light(normal, settings.exposure, rng)
    if rng.random() >= settings.anomaly_share:
        return SyntheticAnomaly(normal, normal, np.zeros(normal.shape[:2], np.bool_))
    for _ in range(REDRAWS if settings.redraw_empty else 1):
        image, mask = _add_anomaly(normal, textures, settings, rng, grey=grey)
        if settings.foreground:
            mask &= foreground_mask(normal)
            image = np.where(mask[..., None], image, normal)
        if mask.any():
            break
    return SyntheticAnomaly(normal, image, mask)


def random_anomaly(image: Image, rng: Random, geometry: Geometry | None = None) -> SyntheticAnomaly:
    """Add an anomaly to an image of any size: structural or a texture, with equal probability.

    Grey images get grey anomalies, since colour would make them trivial to detect. The mask is
    never empty. With a `geometry` that fits, the anomaly lies in its region of interest, and some
    of it outside the ignored polygons, if it has to be drawn up to 20 times for that.
    """
    x, y, width, height = _inspected(image, geometry)
    part = np.ascontiguousarray(image[y : y + height, x : x + width])
    inspected = not_ignored(geometry, (x, y), (height, width))
    for _ in range(REDRAWS):
        drawn = _draw_anomaly(part, rng)
        if drawn.mask[inspected].any():
            break
    anomalous, mask = image.copy(), np.zeros(image.shape[:2], np.bool_)
    anomalous[y : y + height, x : x + width] = drawn.anomalous
    mask[y : y + height, x : x + width] = drawn.mask
    return SyntheticAnomaly(image, anomalous, mask)


def _inspected(image: Image, geometry: Geometry | None) -> tuple[int, int, int, int]:
    """Return the region of interest, or the whole of an image that it does not fit."""
    height, width = image.shape[:2]
    x, y, w, h = (geometry and geometry.roi_xywh) or (0, 0, width, height)
    return (x, y, w, h) if x + w <= width and y + h <= height else (0, 0, width, height)


def not_ignored(
    geometry: Geometry | None, origin_xy: tuple[int, int], size_hw: tuple[int, int]
) -> Mask:
    """Return a mask of a region that is true outside the ignored polygons."""
    drawn = np.ones(size_hw, np.uint8)
    for polygon in geometry.ignore if geometry else ():
        cv2.fillPoly(drawn, [np.array(polygon, np.int32) - origin_xy], 0)
    return drawn.astype(np.bool_)


def _draw_anomaly(image: Image, rng: Random) -> SyntheticAnomaly:
    settings = SynthesisConfig(structural_share=0.5)
    textures = ProceduralTextures((image.shape[0], image.shape[1]))
    grey = is_grey(image[None])
    sample = synthesize(image, textures, settings, rng, grey=grey)
    while not sample.mask.any():  # about one Perlin mask in twenty is empty
        sample = synthesize(image, textures, settings, rng, grey=grey)
    return sample


def random_rotation(tile: Image, settings: SynthesisConfig, rng: Random) -> Image:
    """Rotate a tile as `rotation` allows: not at all, by a few degrees, or by 90-degree steps too.

    A tile that is not square rotates by 180 degrees only.
    """
    if settings.rotation == "none":
        return tile
    if settings.rotation_share < 1 and rng.random() >= settings.rotation_share:
        return tile
    if settings.rotation == "full":
        square = tile.shape[0] == tile.shape[1]
        tile = np.rot90(tile, int(rng.integers(4)) if square else 2 * int(rng.integers(2)))
    degrees = float(rng.uniform(-settings.rotation_small_deg, settings.rotation_small_deg))
    return rotate(np.ascontiguousarray(tile), degrees, fill=settings.rotation_fill)  # type: ignore[return-value]


def _add_anomaly(
    normal: Image, textures: Textures, settings: SynthesisConfig, rng: Random, *, grey: bool
) -> tuple[Image, Mask]:
    """Draw one anomaly of a random kind; return the image and the mask."""
    kind = rng.random()
    if kind < settings.structural_share:
        return add_structural_defect(normal, rng, grey=grey)
    if kind < settings.structural_share + settings.cut_paste_share:
        piece, weight = cut_paste(normal, rng, settings.cut_paste_area)
        return blend(normal, piece, weight), weight >= 0.5
    return _add_texture(normal, textures, settings, rng, grey=grey)


def _add_texture(
    normal: Image, textures: Textures, settings: SynthesisConfig, rng: Random, *, grey: bool
) -> tuple[Image, Mask]:
    mask = perlin_mask(
        (normal.shape[0], normal.shape[1]),
        rng,
        exp_max=settings.perlin_exp_max,
        threshold=settings.perlin_threshold,
        rotate_deg=settings.perlin_rotate_deg,
    )
    texture = textures.draw(rng)
    texture = to_grey(texture) if grey else texture
    low, high = settings.texture_weight
    opacity = np.float32(high - rng.uniform(0, high - low))
    return blend(normal, texture, mask * opacity), mask
