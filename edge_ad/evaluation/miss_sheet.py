"""The sheet of worst misses, as one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_ad.evaluation.predictions import ScoredImage
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.images import read_image, write_image
from edge_ad.preprocess import Map, Preprocess

_SIDE, _GAP, _WORDS_WIDTH = 192, 4, 400
_GREY, _WHITE = (96, 96, 96), (255, 255, 255)
_COLOURS = {"ESCAPE": (64, 64, 255), "OVERKILL": (0, 165, 255)}


def worst_misses(judged: Sequence[ScoredImage], count: int = 6) -> list[ScoredImage]:
    """The anomalous images with the lowest scores, then the normal ones with the highest."""
    escapes = sorted((j for j in judged if j.sample.anomalous), key=lambda j: j.score)
    overkill = sorted((j for j in judged if not j.sample.anomalous), key=lambda j: -j.score)
    return escapes[:count] + overkill[:count]


def write_misses(
    judged: Sequence[ScoredImage], threshold: float | None, geometry: Geometry, path: Path
) -> None:
    """A row an image: what the line sees of it, its map (one scale for all), its ground truth.

    Images on the right side of the threshold are shown too, as the nearest to a miss.
    """
    chosen = worst_misses(judged)
    low = min(float(np.median(_seen(one))) for one in chosen)
    top = max(float(_seen(one).max()) for one in chosen)
    roi = Geometry(roi_xywh=geometry.roi_xywh)
    rows = [_row(one, (low, top), verdict_word(one, threshold), roi) for one in chosen]
    write_image(path, np.vstack(rows))


def verdict_word(one: ScoredImage, threshold: float | None) -> str:
    """What became of an image at the threshold."""
    if threshold is None:
        return "no threshold"
    rejected = one.score > threshold
    if rejected == one.sample.anomalous:
        return "rejected, rightly" if rejected else "passed, rightly"
    return "OVERKILL" if rejected else "ESCAPE"


def _row(one: ScoredImage, scale: tuple[float, float], word: str, roi: Geometry) -> Image:
    size_hw = (one.values.shape[0], one.values.shape[1])
    image = Preprocess(size_hw, roi)(read_image(one.sample.path))[0]
    panels = [_fitted(panel) for panel in (image, _heat(one, scale), _truth(one))]
    lines = (word, one.sample.kind, one.sample.path.name, f"score {one.score:.4g}")
    row = np.hstack([*panels, _words(lines, _COLOURS.get(word, _WHITE))])
    framed = cv2.copyMakeBorder(row, 0, _GAP, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.asarray(framed, np.uint8)


def _heat(one: ScoredImage, scale: tuple[float, float]) -> Image:
    low, top = scale
    level = np.clip((one.values - low) / max(top - low, 1e-12), 0, 1)
    heat = np.asarray(cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_JET))
    heat[np.isneginf(one.values)] = _GREY
    return np.asarray(heat, np.uint8)


def _truth(one: ScoredImage) -> Image:
    truth = np.zeros((*one.values.shape, 3), np.uint8)
    truth[:] = _GREY if one.mask is None else 0
    truth[one.mask if one.mask is not None else False] = _WHITE
    return truth


def _words(lines: Sequence[str], colour: tuple[int, int, int]) -> Image:
    words = np.full((_SIDE, _WORDS_WIDTH, 3), 32, np.uint8)
    for index, text in enumerate(lines):
        shown = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
        place = (10, 40 + 30 * index)
        cv2.putText(words, shown, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 1)
        colour = _WHITE
    return words


def _fitted(image: Image) -> Image:
    """The image in a square, its sides' ratio kept."""
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    square = np.full((_SIDE, _SIDE, 3), 32, np.uint8)
    top, left = (_SIDE - size[1]) // 2, (_SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square


def _seen(one: ScoredImage) -> Map:
    return one.values[~np.isneginf(one.values)]
