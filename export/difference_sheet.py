"""Draw where two artefacts differ most."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.engine import Prediction
from edge_ad.frame import Image
from edge_ad.outlet.drawing import draw_text

_WIDTH, _TITLE_HEIGHT, _GAP = 240, 22, 4
_TITLES = ("frame", "first map", "second map", "difference")


def difference_sheet(frames: Image, first: Prediction, second: Prediction, count: int = 6) -> Image:
    """Draw one row a frame, the largest difference on top: frame, both maps, their difference.

    All maps share one colour scale and all differences another; the titles give both.
    """
    differences = np.abs(first.maps - second.maps)
    order = np.argsort(-differences.max(axis=(1, 2)), kind="stable")[:count]
    low, high = float(first.maps[order].min()), float(first.maps[order].max())
    top = float(differences[order].max())
    rows = [_title_row(f"red is {high:.3g}", f"red is {top:.2g}")]
    for index in order:
        maps = [_coloured(side.maps[index], low, high) for side in (first, second)]
        panels = [frames[index], *maps, _coloured(differences[index], 0.0, top)]
        rows.append(_row(panels, f"{first.scores[index]:.4g} -> {second.scores[index]:.4g}"))
    return np.vstack(rows)


def _row(panels: list[Image], title: str) -> Image:
    height = max(1, round(panels[0].shape[0] * _WIDTH / panels[0].shape[1]))
    scaled = [cv2.resize(p, (_WIDTH, height), interpolation=cv2.INTER_AREA) for p in panels]
    row = np.hstack([np.pad(p, ((0, _GAP), (0, _GAP), (0, 0))) for p in scaled])
    return draw_text(row.astype(np.uint8), title, (6, 16), 0.42)


def _title_row(map_scale: str, difference_scale: str) -> Image:
    row = np.zeros((_TITLE_HEIGHT, len(_TITLES) * (_WIDTH + _GAP), 3), np.uint8)
    scales = ("first -> second score", map_scale, map_scale, difference_scale)
    for column, (title, scale) in enumerate(zip(_TITLES, scales, strict=True)):
        corner = (6 + column * (_WIDTH + _GAP), 15)
        text = f"{title} ({scale})"
        draw_text(row, text, corner, 0.38)
    return row


def _coloured(values: NDArray[np.float32], low: float, high: float) -> Image:
    level = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return np.asarray(cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_JET), np.uint8)
