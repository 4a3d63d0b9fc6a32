"""Contact sheet of the worst misses, as one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_ad.evaluation.predictions import ScoredImage
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.images import read_image, scaled, write_image
from edge_ad.preprocess import Map, Preprocess

_SIDE, _GAP, _CAPTION_WIDTH = 192, 4, 400
_GREY, _WHITE = (96, 96, 96), (255, 255, 255)
_COLOURS = {"ESCAPE": (64, 64, 255), "OVERKILL": (0, 165, 255)}


def worst_misses(scored: Sequence[ScoredImage], count: int = 6) -> list[ScoredImage]:
    """Return the anomalous images with the lowest scores, then the normal ones with the highest."""
    escapes = sorted(
        (item for item in scored if item.sample.anomalous), key=lambda item: item.score
    )
    overkill = sorted(
        (item for item in scored if not item.sample.anomalous), key=lambda item: -item.score
    )
    return escapes[:count] + overkill[:count]


def write_misses(
    scored: Sequence[ScoredImage], threshold: float | None, geometry: Geometry, path: Path
) -> None:
    """Write one row per image: the inspected region, its anomaly map, its ground truth.

    All maps share one colour scale. Images on the right side of the threshold are shown too, if
    they are the nearest to a miss.
    """
    chosen = worst_misses(scored)
    low = min(float(np.median(_inspected(item))) for item in chosen)
    top = max(float(_inspected(item).max()) for item in chosen)
    roi = Geometry(roi_xywh=geometry.roi_xywh)
    rows = [_row(item, (low, top), verdict_label(item, threshold), roi) for item in chosen]
    write_image(path, np.vstack(rows))


def verdict_label(item: ScoredImage, threshold: float | None) -> str:
    """Name the verdict on an image at the threshold, and whether it is right."""
    if threshold is None:
        return "no threshold"
    rejected = item.score > threshold
    if rejected == item.sample.anomalous:
        return "rejected, correctly" if rejected else "passed, correctly"
    return "OVERKILL" if rejected else "ESCAPE"


def _row(item: ScoredImage, scale: tuple[float, float], label: str, roi: Geometry) -> Image:
    size_hw = (item.values.shape[0], item.values.shape[1])
    image = Preprocess(size_hw, roi)(read_image(item.sample.path))[0]
    panels = [_fitted(panel) for panel in (image, _heat_map(item, scale), _ground_truth(item))]
    lines = (label, item.sample.kind, item.sample.path.name, f"score {item.score:.4g}")
    row = np.hstack([*panels, _caption(lines, _COLOURS.get(label, _WHITE))])
    framed = cv2.copyMakeBorder(row, 0, _GAP, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.asarray(framed, np.uint8)


def _heat_map(item: ScoredImage, scale: tuple[float, float]) -> Image:
    low, top = scale
    level = np.clip((item.values - low) / max(top - low, 1e-12), 0, 1)
    heat = np.asarray(cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_JET))
    heat[np.isneginf(item.values)] = _GREY
    return np.asarray(heat, np.uint8)


def _ground_truth(item: ScoredImage) -> Image:
    truth = np.zeros((*item.values.shape, 3), np.uint8)
    truth[:] = _GREY if item.mask is None else 0
    truth[item.mask if item.mask is not None else False] = _WHITE
    return truth


def _caption(lines: Sequence[str], colour: tuple[int, int, int]) -> Image:
    caption = np.full((_SIDE, _CAPTION_WIDTH, 3), 32, np.uint8)
    for index, text in enumerate(lines):
        shown = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
        place = (10, 40 + 30 * index)
        cv2.putText(caption, shown, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 1)
        colour = _WHITE
    return caption


def _fitted(image: Image) -> Image:
    """Fit the image into a square, keeping its aspect ratio."""
    small = scaled(image, _SIDE / max(image.shape[:2]))
    height, width = small.shape[:2]
    square = np.full((_SIDE, _SIDE, 3), 32, np.uint8)
    top, left = (_SIDE - height) // 2, (_SIDE - width) // 2
    square[top : top + height, left : left + width] = small
    return square


def _inspected(item: ScoredImage) -> Map:
    return item.values[~np.isneginf(item.values)]
