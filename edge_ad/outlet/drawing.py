"""Draw evidence images: frame and anomaly map side by side, with regions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.inspection import Region
from edge_ad.preprocess import AnomalyMap

_RED, _WHITE, _DARK = (40, 40, 230), (255, 255, 255), (32, 32, 32)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BAR_PX = 28
_PANEL_WIDTH = 640  # pixels: a scratch is visible, the file small enough to mail


def draw_evidence(
    image: Image, anomaly_map: AnomalyMap, regions: Sequence[Region], threshold: float, title: str
) -> Image:
    """Return the frame with its regions beside the frame under its map, below a title bar.

    The map's colours run from half the threshold (clear) to twice the threshold (red), so that
    evidence images can be compared.
    """
    left = draw_regions(image.copy(), regions)
    right = draw_regions(_overlay(image, anomaly_map, threshold), regions)
    scale = min(1.0, _PANEL_WIDTH / image.shape[1])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    panels = [cv2.resize(side, size, interpolation=cv2.INTER_AREA) for side in (left, right)]
    bar = np.full((_BAR_PX, 2 * size[0], 3), _DARK, np.uint8)
    cv2.putText(bar, title, (8, _BAR_PX - 9), _FONT, 0.45, _WHITE, 1, cv2.LINE_AA)
    return np.vstack([bar, np.hstack(panels)])


def draw_regions(image: Image, regions: Sequence[Region]) -> Image:
    """Draw the regions' boxes into `image`, slightly larger than the regions, and return it."""
    thickness = max(1, round(image.shape[1] / 400))
    for region in regions:
        corner = (region.x - 2 * thickness, region.y - 2 * thickness)
        right, bottom = region.x + region.width, region.y + region.height
        opposite = (right + 2 * thickness, bottom + 2 * thickness)
        cv2.rectangle(image, corner, opposite, _RED, thickness)
    return image


def contact_sheet(images: Sequence[Image], columns: int = 3, width: int = 480) -> Image:
    """Return the images scaled to one width, in rows; unused cells stay dark."""
    thumbs = [_to_width(image, width) for image in images]
    height = max(thumb.shape[0] for thumb in thumbs)
    columns = min(columns, len(thumbs))
    rows = -(-len(thumbs) // columns)
    sheet = np.full((rows * height, columns * width, 3), _DARK, np.uint8)
    for index, thumb in enumerate(thumbs):
        row, column = divmod(index, columns)
        cell = sheet[row * height :, column * width :]
        cell[: thumb.shape[0], : thumb.shape[1]] = thumb
    return sheet


def _overlay(image: Image, anomaly_map: AnomalyMap, threshold: float) -> Image:
    """Blend the map over the part of the frame that it covers."""
    rows, columns = anomaly_map.values.shape
    x, y = (round(value) for value in anomaly_map.origin_xy)
    width, height = round(columns * anomaly_map.scale_xy[0]), round(rows * anomaly_map.scale_xy[1])
    low, high = threshold - 0.5 * abs(threshold), threshold + abs(threshold)
    level = np.clip((anomaly_map.values - low) / max(high - low, 1e-12), 0, 1)
    level = cv2.resize(level.astype(np.float32), (width, height))
    colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_JET)
    alpha = (0.6 * np.sqrt(level))[:, :, None]
    blended: Image = image.copy()
    part = blended[y : y + height, x : x + width]
    part[:] = (part * (1 - alpha) + colours * alpha).astype(np.uint8)
    return blended


def _to_width(image: Image, width: int) -> Image:
    height = round(image.shape[0] * width / image.shape[1])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
