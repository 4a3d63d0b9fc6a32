"""Cut frames into network-size batches and stitch maps back to the frame.

This is the only place that crops or resizes: training, calibration, thresholds and the line all see
the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.frame import Image, pixels_of
from edge_ad.geometry import Geometry, Shrink

Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AnomalyMap:
    """One stitched anomaly map and its place in the frame.

    `values` float32 (h, w), raw units; pixel (row, column) covers the frame's rectangle from
    `origin_xy + (column, row) * scale_xy` to the next. Ignored pixels hold minus infinity.
    """

    values: Map
    origin_xy: tuple[float, float]
    scale_xy: tuple[float, float]

    def in_frame(self, frame_hw: tuple[int, int]) -> Map:
        """Return float32 (H, W) in frame pixels, interpolated; NaN outside and where ignored."""
        rows, columns = self.values.shape
        x, y = (round(value) for value in self.origin_xy)
        size_wh = (round(columns * self.scale_xy[0]), round(rows * self.scale_xy[1]))
        ignored = np.isneginf(self.values)
        lowest = np.min(self.values, where=~ignored, initial=np.inf)
        part = cv2.resize(np.where(ignored, lowest, self.values), size_wh)
        holes = cv2.resize(ignored.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST)
        frame = np.full(frame_hw, np.nan, np.float32)
        frame[y : y + size_wh[1], x : x + size_wh[0]] = np.where(holes, np.nan, part)
        return frame


@dataclass(frozen=True, slots=True)
class TileLayout:
    """The tiles' places for one frame size, in the frame and on the stitched canvas."""

    roi_xywh: tuple[int, int, int, int]
    tile_wh: tuple[int, int]
    tiles_xy: tuple[tuple[int, int], ...]  # top left corners in the frame
    places_rc: tuple[tuple[int, int], ...]  # top left corners on the canvas
    canvas_hw: tuple[int, int]


class Preprocess:
    """Cuts a frame into the network's batch, and stitches the network's maps.

    Raises UsageError when the geometry does not fit the frame.
    """

    def __init__(self, size_hw: tuple[int, int], geometry: Geometry | None = None) -> None:
        self.size_hw = size_hw
        self.geometry = geometry or Geometry()
        self._layout = lru_cache(maxsize=8)(self._make_layout)
        self._ignored = lru_cache(maxsize=8)(self._draw_ignored)
        self._weights = lru_cache(maxsize=8)(self._blend_weights)

    def __call__(self, image: Image) -> Image:
        """Cut a uint8 (h, w, 3) BGR frame into a uint8 (tiles, H, W, 3) BGR batch, row by row."""
        layout = self._layout(_hw(image))
        (height, width), (tile_w, tile_h) = self.size_hw, layout.tile_wh
        batch = np.empty((len(layout.tiles_xy), height, width, 3), np.uint8)
        for tile, (x, y) in zip(batch, layout.tiles_xy, strict=True):
            self._scale(image[y : y + tile_h, x : x + tile_w], tile)
        return batch

    def stitch(self, maps: Map, frame_hw: tuple[int, int]) -> AnomalyMap:
        """Blend float32 (tiles, H, W) into one map, without seams where tiles overlap."""
        layout = self._layout(frame_hw)
        values = maps[0] if len(maps) == 1 else self._blend(maps, layout, frame_hw)
        if self.geometry.ignore:
            values = np.where(self._ignored(frame_hw), np.float32(-np.inf), values)
        x, y, width, height = layout.roi_xywh
        rows, columns = layout.canvas_hw
        return AnomalyMap(values, (x, y), (width / columns, height / rows))

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Resize a ground truth bool (h, w) to the stitched canvas: averaged, true from 0.5 on."""
        layout = self._layout(_hw(mask))
        x, y, width, height = layout.roi_xywh
        part = mask[y : y + height, x : x + width].astype(np.float32)
        return _resize(part, layout.canvas_hw) >= 0.5

    def tile_hw(self, frame_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of a tile in a frame's pixels."""
        width, height = self._layout(frame_hw).tile_wh
        return height, width

    def ignored(self, frame_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return a bool canvas that is true inside the ignored polygons."""
        return self._ignored(frame_hw)

    def tile_ignored(self, frame_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return bool (tiles, H, W), true inside the ignored polygons."""
        canvas, layout, (height, width) = (
            self.ignored(frame_hw),
            self._layout(frame_hw),
            self.size_hw,
        )
        return np.stack([canvas[r : r + height, c : c + width] for r, c in layout.places_rc])

    def _scale(self, part: Image, tile: Image) -> None:
        """Scale a part of a frame into a tile of the batch; of a grey frame only its one plane."""
        pixels, shrink = pixels_of(part), self.geometry.shrink
        if pixels.ndim == 3:
            _resize(pixels, self.size_hw, tile, shrink)
        else:
            tile[:] = _resize(pixels, self.size_hw, shrink=shrink)[:, :, np.newaxis]

    def _make_layout(self, frame_hw: tuple[int, int]) -> TileLayout:
        roi = _roi(self.geometry, frame_hw)
        (rows, columns), overlap = self.geometry.tiles, self.geometry.overlap
        xs, tile_w = _starts(roi[2], columns, overlap)
        ys, tile_h = _starts(roi[3], rows, overlap)
        height, width = self.size_hw
        places_x = [round(x * width / tile_w) for x in xs]
        places_y = [round(y * height / tile_h) for y in ys]
        return TileLayout(
            roi_xywh=roi,
            tile_wh=(tile_w, tile_h),
            tiles_xy=tuple((roi[0] + x, roi[1] + y) for y in ys for x in xs),
            places_rc=tuple((y, x) for y in places_y for x in places_x),
            canvas_hw=(places_y[-1] + height, places_x[-1] + width),
        )

    def _blend(self, maps: Map, layout: TileLayout, frame_hw: tuple[int, int]) -> Map:
        canvas = np.zeros(layout.canvas_hw, np.float32)
        height, width = self.size_hw
        weights = self._weights(frame_hw)
        for values, weight, (row, column) in zip(maps, weights, layout.places_rc, strict=True):
            canvas[row : row + height, column : column + width] += values * weight
        return canvas

    def _blend_weights(self, frame_hw: tuple[int, int]) -> Map:
        """Return float32 (tiles, H, W): ramps that fall towards the rim and sum to one."""
        layout, (height, width) = self._layout(frame_hw), self.size_hw
        ramp = np.outer(_ramp(height), _ramp(width)).astype(np.float32)
        total = np.zeros(layout.canvas_hw, np.float32)
        windows = [np.s_[r : r + height, c : c + width] for r, c in layout.places_rc]
        for window in windows:
            total[window] += ramp
        return np.stack([ramp / total[window] for window in windows])

    def _draw_ignored(self, frame_hw: tuple[int, int]) -> NDArray[np.bool_]:
        layout = self._layout(frame_hw)
        x, y, width, height = layout.roi_xywh
        rows, columns = layout.canvas_hw
        scale = np.array([columns / width, rows / height])
        drawn = np.zeros((rows, columns), np.uint8)
        for polygon in self.geometry.ignore:
            points = np.round((np.array(polygon) - (x, y)) * scale).astype(np.int32)
            cv2.fillPoly(drawn, [points], 1)
        return drawn.astype(np.bool_)


def subsample(pixels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Return a pixel of every whole block of `step` x `step`, the first.

    OpenCV gathers them four times as fast as numpy.
    """
    height, width = (side // step for side in pixels.shape[:2])
    whole = pixels[: height * step, : width * step]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def tint_of(pixels: NDArray[np.uint8]) -> int:
    """Return by how many grey levels the channels of a pixel differ at most, 0 where all are grey.

    Blue is compared with green, and green with red; pixels (H, W) have one channel.
    """
    if pixels.ndim == 2:
        return 0
    blue, green, red = cv2.split(pixels)
    return int(max(cv2.absdiff(blue, green).max(), cv2.absdiff(green, red).max()))


def _resize(
    image: NDArray,  # type: ignore[type-arg]
    size_hw: tuple[int, int],
    out: NDArray | None = None,  # type: ignore[type-arg]
    shrink: Shrink = "area",
) -> NDArray:  # type: ignore[type-arg]
    """Shrink by averaging areas, so that no thin scratch falls between samples; enlarge bilinearly.

    Even sizes are halved first: exact 2 x 2 means are an order of magnitude faster than OpenCV's
    means over areas of fractional size, which do the rest. `bilinear` interpolates between the four
    nearest pixels and skips others, as the code of DRAEM and of many other detectors does.
    """
    height, width = size_hw
    if shrink == "bilinear":
        return cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
    while _halves(image.shape[0], height) and _halves(image.shape[1], width):
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    shrinks = image.shape[0] > height or image.shape[1] > width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), dst=out, interpolation=interpolation)


def _halves(length: int, target: int) -> bool:
    return length % 2 == 0 and length // 2 >= target


def _roi(geometry: Geometry, frame_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    height, width = frame_hw
    if geometry.frame_wh not in (None, (width, height)):
        raise UsageError(
            f"the frame is {width}x{height}, and --roi and --ignore were given for frames of "
            f"{'x'.join(map(str, geometry.frame_wh))}. Set the camera to that size, or give "
            "them for this one, to threshold too."
        )
    if geometry.roi_xywh is None:
        return (0, 0, width, height)
    x, y, w, h = geometry.roi_xywh
    if x + w > width or y + h > height:
        raise UsageError(
            f"the region of interest x={x} y={y} width={w} height={h} is not inside the "
            f"frame, which is {width}x{height}. Correct --roi, or the camera's resolution."
        )
    return geometry.roi_xywh


def _starts(length: int, count: int, overlap: float) -> tuple[list[int], int]:
    """Return the first pixel of each of `count` tiles along a side of `length`, and their length.

    The tile length is rounded up to a multiple of 8, which can be halved, at the cost of some
    overlap.
    """
    tile = min(length, int(np.ceil(length / (count - (count - 1) * overlap) / 8)) * 8)
    if count == 1:
        return [0], tile
    step = (length - tile) / (count - 1)
    return [round(step * index) for index in range(count)], tile


def _ramp(length: int) -> NDArray[np.float64]:
    """Return 1, 2, 3 ... 3, 2, 1: a pixel's weight by its distance from the tile's rim."""
    index = np.arange(length)
    return np.minimum(index + 1, length - index).astype(np.float64)


def _hw(image: NDArray) -> tuple[int, int]:  # type: ignore[type-arg]
    return (image.shape[0], image.shape[1])
