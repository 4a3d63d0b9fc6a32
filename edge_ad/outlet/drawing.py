"""Draw evidence images: frame and anomaly map side by side, with regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.images import scaled
from edge_ad.inspection import Region
from edge_ad.preprocess import AnomalyMap

_RED, _WHITE, _DARK, _BLACK = (40, 40, 230), (255, 255, 255), (32, 32, 32), (0, 0, 0)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45
_LINE_PX = 20  # of a caption
_PANEL_WIDTHS = (320, 640)  # pixels: the caption fits, a scratch shows, the file can be mailed
_MOST_ROWS = 8192  # of a line scan: JPEG has 65 500, more than a person looks at
_LEGEND_WIDTH = 160
_AROUND = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]


def draw_evidence(
    image: Image,
    anomaly_map: AnomalyMap,
    regions: Sequence[Region],
    threshold: float,
    caption: Sequence[str],
) -> Image:
    """Return the frame with its regions beside the frame under its map, with caption and legend.

    The map's colours run from half the threshold (clear) to twice the threshold (red), so that
    evidence images can be compared.
    """
    height, width = image.shape[:2]
    scale = min(float(np.clip(width, *_PANEL_WIDTHS)) / width, _MOST_ROWS / height)
    panel = scaled(image, scale)  # drawn on when small
    boxes = [_scaled(region, scale) for region in regions]
    left = _widened(draw_regions(panel.copy(), boxes))
    overlay = _overlay(panel, _scaled_map(anomaly_map, scale), threshold)
    right = _widened(draw_regions(overlay, boxes))
    above = _bar(2 * left.shape[1], len(caption))
    for number, line in enumerate(caption):
        draw_text(above, _fitted(line, above.shape[1] - 20), (8, (number + 1) * _LINE_PX - 5))
    return np.vstack([above, np.hstack([left, right]), _legend(above.shape[1], threshold)])


def panels(evidence: Image, lines: int = 2) -> tuple[Image, Image]:
    """Return the two panels of an evidence image: the frame with its regions, and with the map.

    `lines` are those of its caption. An image that is too small for one is both.
    """
    height, width = evidence.shape[:2]
    top, bottom = _bar_height(lines), _bar_height(1)
    if height <= top + bottom or width < 2:
        return evidence, evidence
    inner = evidence[top : height - bottom]
    return inner[:, : width // 2], inner[:, width // 2 :]


def draw_text(
    image: Image, text: str, corner: tuple[int, int], scale: float = _FONT_SCALE
) -> Image:
    """Draw white text with a black outline, readable on any ground, and return the image.

    `corner` is the lower left one. OpenCV's font has ASCII only; other letters become '?'.
    """
    shown = _ascii(text)
    x, y = corner
    for dx, dy in _AROUND:  # thicker letters would be wider ones in OpenCV 5
        cv2.putText(image, shown, (x + dx, y + dy), _FONT, scale, _BLACK, 1, cv2.LINE_AA)
    cv2.putText(image, shown, corner, _FONT, scale, _WHITE, 1, cv2.LINE_AA)
    return image


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
    thumbs = [scaled(image, width / image.shape[1]) for image in images]
    height = max(thumb.shape[0] for thumb in thumbs)
    columns = min(columns, len(thumbs))
    rows = -(-len(thumbs) // columns)
    sheet = np.full((rows * height, columns * width, 3), _DARK, np.uint8)
    for index, thumb in enumerate(thumbs):
        row, column = divmod(index, columns)
        cell = sheet[row * height :, column * width :]
        cell[: thumb.shape[0], : thumb.shape[1]] = thumb
    return sheet


def _widened(panel: Image) -> Image:
    """Return a panel with room beside it, where it is too narrow for the caption."""
    missing = max(0, _PANEL_WIDTHS[0] - panel.shape[1])
    return np.asarray(
        cv2.copyMakeBorder(panel, 0, 0, 0, missing, cv2.BORDER_CONSTANT, value=_DARK), np.uint8
    )


def _bar(width: int, lines: int) -> Image:
    return np.full((_bar_height(lines), width, 3), _DARK, np.uint8)


def _bar_height(lines: int) -> int:
    return lines * _LINE_PX + 4


def _fitted(text: str, width: int) -> str:
    """Shorten a text in its middle until it fits."""
    text = shown = _ascii(text)
    kept = len(text)
    while kept > 4 and cv2.getTextSize(shown, _FONT, _FONT_SCALE, 1)[0][0] > width:
        kept -= 2
        shown = f"{text[: kept // 2]}...{text[-(kept // 2) :]}"
    return shown


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _legend(width: int, threshold: float) -> Image:
    """Return a bar with the map's colours and the values that they begin and end with."""
    low, high = _colour_range(threshold)
    bar = _bar(width, 1)
    colours = np.linspace(0, 255, _LEGEND_WIDTH).astype(np.uint8)[None]
    start, end = "0.5 x threshold", "2 x threshold"
    if threshold <= 0:
        start, end = f"{low:.4g}", f"{high:.4g}"
    left = 16 + cv2.getTextSize(start, _FONT, _FONT_SCALE, 1)[0][0]
    bar[6:18, left : left + _LEGEND_WIDTH] = cv2.applyColorMap(colours, cv2.COLORMAP_JET)
    draw_text(bar, start, (8, _LINE_PX - 5))
    return draw_text(bar, end, (left + _LEGEND_WIDTH + 8, _LINE_PX - 5))


def _colour_range(threshold: float) -> tuple[float, float]:
    """Return the map values that are clear and red."""
    return threshold - 0.5 * abs(threshold), threshold + abs(threshold)


def _overlay(image: Image, anomaly_map: AnomalyMap, threshold: float) -> Image:
    """Blend the map over the part of the frame that it covers."""
    rows, columns = anomaly_map.values.shape
    x, y = (round(value) for value in anomaly_map.origin_xy)
    width = max(1, round(columns * anomaly_map.scale_xy[0]))
    height = max(1, round(rows * anomaly_map.scale_xy[1]))
    low, high = _colour_range(threshold)
    level = np.clip((anomaly_map.values - low) / max(high - low, 1e-12), 0, 1)
    level = cv2.resize(level.astype(np.float32), (width, height))
    colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_JET)
    alpha = (0.6 * np.sqrt(level))[:, :, None]
    blended: Image = image.copy()
    part = blended[y : y + height, x : x + width]
    inside = np.s_[: part.shape[0], : part.shape[1]]  # rounding may pass the edge by a pixel
    part[:] = (part * (1 - alpha[inside]) + colours[inside] * alpha[inside]).astype(np.uint8)
    return blended


def _scaled(region: Region, scale: float) -> Region:
    x, y = round(region.x * scale), round(region.y * scale)
    width, height = (max(1, round(side * scale)) for side in (region.width, region.height))
    return replace(region, x=x, y=y, width=width, height=height)


def _scaled_map(anomaly_map: AnomalyMap, scale: float) -> AnomalyMap:
    (x, y), (across, down) = anomaly_map.origin_xy, anomaly_map.scale_xy
    return replace(
        anomaly_map, origin_xy=(x * scale, y * scale), scale_xy=(across * scale, down * scale)
    )
