"""Read a foreign graph's map and score from arrays of any of the shapes they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.engine import Prediction
from edge_ad.errors import IncompatibleError
from edge_ad.export.adapter.description import SizeHW


@dataclass(frozen=True, slots=True)
class OutputShapes:
    """The shapes that the foreign graph gave, and the size of its map."""

    map: tuple[int, ...]
    score: tuple[int, ...] | None
    map_hw: SizeHW


def read_outputs(
    outputs: list[NDArray[Any]], names: tuple[str, str | None], count: int, size_hw: SizeHW
) -> tuple[Prediction, OutputShapes]:
    """Return the prediction for `count` images, its maps resized to (H, W).

    Without a score it is the maximum of the map. Raises IncompatibleError for outputs that are not
    one map and one number an image, or a map of a size that does not fit the image.
    """
    maps = _maps(outputs[0], names[0], count)
    height, width = maps.shape[1:]
    resized = _resized(maps, size_hw, names[0])
    if names[1] is None:
        scores, shape = resized.max(axis=(1, 2)), None
    else:
        scores, shape = _scores(outputs[1], names[1], count), outputs[1].shape
    return Prediction(resized, scores), OutputShapes(outputs[0].shape, shape, (height, width))


def _maps(values: NDArray[Any], name: str, count: int) -> NDArray[np.float32]:
    """Return (count, h, w) from (N, 1, h, w), (N, h, w), (N, h, w, 1), or (h, w) for one image."""
    expected = "expected one map an image, (N, 1, H, W), (N, H, W) or (N, H, W, 1)"
    shape = list(values.shape)
    if len(shape) == 2 and count == 1:
        shape = [1, *shape]
    if len(shape) == 4:
        channel = next((axis for axis in (1, 3) if shape[axis] == 1), None)
        if channel is None:
            raise IncompatibleError(
                f"its output '{name}' is {tuple(values.shape)}, {shape[1]} or {shape[3]} maps an "
                f"image; {expected}. Choose one in the graph and export it again"
            )
        del shape[channel]
    if len(shape) != 3 or shape[0] != count or min(shape[1:]) < 2:
        raise IncompatibleError(
            f"its output '{name}' is {tuple(values.shape)} for {count} images; {expected}. "
            "Name the map with --map-output; a model of scores alone does not say where an anomaly "
            "is: export it with its map"
        )
    return np.asarray(values, np.float32).reshape(shape)


def _scores(values: NDArray[Any], name: str, count: int) -> NDArray[np.float32]:
    if values.size != count or (values.ndim and values.shape[0] != count):
        raise IncompatibleError(
            f"its output '{name}' is {tuple(values.shape)} for {count} images; expected one score "
            "an image, (N,) or (N, 1). Name another with --score-output, or max"
        )
    return np.asarray(values, np.float32).reshape(count)


def _resized(maps: NDArray[np.float32], size_hw: SizeHW, name: str) -> NDArray[np.float32]:
    """Return the maps as large as the image, as the nodes behind the graph make them."""
    (h, w), (height, width) = maps.shape[1:], size_hw
    if (h, w) == size_hw:
        return maps
    if h <= height and w <= width:
        return np.stack([cv2.resize(one, (width, height)) for one in maps]).astype(np.float32)
    if h % height or w % width:
        raise IncompatibleError(
            f"its output '{name}' is a map of {h}x{w} for an image of {height}x{width}; expected "
            "the image's size, a smaller one, or a multiple of it"
        )
    blocks = maps.reshape(len(maps), height, h // height, width, w // width)
    return np.asarray(blocks.max(axis=(2, 4)))
