"""Decoding of ground-truth masks: any value other than zero is a defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import read_stored

Mask = NDArray[np.bool_]
_LOSSY = frozenset(".avif .j2k .jfif .jp2 .jpc .jpe .jpeg .jpg .webp".split())
_NEAR = 1 / 8  # of the largest value: how far lossy compression moves one of two values
_STRAYS = 0.01  # share of pixels, along edges, that it moves further
_MOST, _HALF, _RIM = 0.9, 0.5, 0.75  # shares of the image and of its rim that a mask may mark


def read_mask(path: Path) -> Mask:
    """Decode a mask to bool (H, W), true where any colour layer of the file is not zero.

    That covers 0/1, 0/255, class numbers and 16 bits. An alpha layer that varies hides what is
    transparent; where the colours mark nothing it is the mask. Lossy formats, which smear values,
    are cut at half of their largest one. Raises DataError for a file that cannot be decoded, holds
    NaN, or is lossy and has more than two values.
    """
    layers = read_stored(path).pixels
    if np.isnan(layers).any():
        raise DataError(f"{path}: the mask contains NaN.")
    if layers.ndim == 2:
        layers = layers[:, :, None]
    colours = layers[:, :, :3].max(axis=2)
    marked = _above_half(colours, path) if path.suffix.lower() in _LOSSY else colours != 0
    if layers.shape[2] != 4:
        return np.asarray(marked, np.bool_)
    visible = layers[:, :, 3] != 0
    if visible.all() or (marked & visible).any():
        return np.asarray(marked & visible, np.bool_)
    return np.asarray(visible, np.bool_)


def mask_fault(marked: Mask) -> str:
    """Return why a defect's mask cannot be true, or an empty string.

    Empty masks, and inverted ones: those that mark more than 90 % of the image, or more than half
    of it and three quarters of its rim. Real defects that large leave most of the rim unmarked.
    """
    if not marked.any():
        return "the mask is empty: every value is zero though the image is anomalous"
    share, rim = float(marked.mean()), float(_rim(marked).mean())
    if share > _MOST or (share > _HALF and rim > _RIM):
        return (
            f"the mask looks inverted: {share:.0%} of the image and {rim:.0%} of its rim are "
            "marked; expected zero where the image is normal"
        )
    return ""


def reason_of(error: DataError, path: Path) -> str:
    """Return a message without the file's name that it begins with."""
    return str(error).removeprefix(f"{path}: ").rstrip(".")


def _above_half(values: NDArray[np.generic], path: Path) -> Mask:
    most = float(values.max())
    level = values.astype(np.float64) / max(most, 1.0)
    if float(((level > _NEAR) & (level < 1 - _NEAR)).mean()) > _STRAYS:
        raise DataError(
            f"{path}: a mask in a lossy format with more than two values. Save masks as PNG."
        )
    return np.asarray(level > 0.5, np.bool_)


def _rim(marked: Mask) -> Mask:
    return np.concatenate([marked[0], marked[-1], marked[:, 0], marked[:, -1]])
