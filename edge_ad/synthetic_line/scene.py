"""Scene of the line: plate positions per frame, and the rendered image with ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.synthetic_line.camera import Light, Sensor, draw_belt, draw_rails
from edge_ad.synthetic_line.defects import KINDS, Defect, add_defect
from edge_ad.synthetic_line.noise import Field, blur
from edge_ad.synthetic_line.plates import PLATE_WH, draw_plate

SPEED = 8.0  # frame pixels (at height 240) a plate moves from one frame to the next
PITCH = 216.0  # from one plate's centre to the next
_JITTER_XY, _TURN_DEG = (14.0, 7.0), 4.0
_FINE = 2  # canvas pixels per frame pixel; text drawn at frame resolution would be jagged
_BELT_LENGTH = 7  # frame widths


@dataclass(frozen=True, slots=True)
class SyntheticLineSpec:
    """Settings of a line: the share `defects` of the plates has a defect of one of `kinds`.

    `plan`, if given, lists the defect of each plate instead; plates beyond it are normal.
    """

    seed: int = 0
    size_wh: tuple[int, int] = (320, 240)
    defects: float = 0.25
    kinds: tuple[str, ...] = KINDS
    plan: tuple[Defect | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class DefectInstance:
    """A defect in view: plate number, kind, and visible box and area in frame pixels."""

    part: int
    kind: str
    box_xywh: tuple[int, int, int, int]
    area_px: int


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """A frame with its ground truth: mask bool (H, W), defects and plates in view."""

    image: Image
    mask: NDArray[np.bool_]
    defects: tuple[DefectInstance, ...]
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A drawn plate and its place on the belt."""

    number: int
    centre_x: float  # along the belt, frame pixels
    centre_y: float
    turn_deg: float
    colour: Field
    alpha: Field
    defect: Defect | None
    mask: NDArray[np.float32]


class SyntheticLine:
    """An endless line; `frame_at(index)` always draws the same image for one seed."""

    def __init__(self, spec: SyntheticLineSpec) -> None:
        self.spec = spec
        width, height = spec.size_wh
        self._hw = (height, width)
        self._scale = height / 240
        rng = np.random.default_rng([spec.seed, 0])
        self._belt = draw_belt(rng, (height, width * _BELT_LENGTH), self._scale)
        self._rail_colour, self._rail_alpha = draw_rails(rng, self._hw, self._scale)
        self._light = Light(rng, self._hw)
        self._sensor = Sensor(rng, self._hw, self._scale)
        self._part = lru_cache(maxsize=6)(self._draw_part)

    def frame_at(self, index: int) -> LabelledFrame:
        """Draw frame `index`, counted from 0."""
        moved = SPEED * self._scale * index
        dull, metal = self._light.at(index)
        scene = self._belt_at(moved) * dull
        mask = np.zeros(self._hw, np.bool_)
        defects, parts = [], []
        for number in self._in_view(moved):
            part = self._part(number)
            visible = self._draw(scene, part, moved, metal)
            parts.append(number)
            if part.defect is not None and visible.any():
                defects.append(_instance(part.number, part.defect, visible))
                mask |= visible
        scene += (self._rail_colour * dull - scene) * self._rail_alpha[..., None]
        image = self._sensor.expose(scene, np.random.default_rng([self.spec.seed, 2, index]))
        return LabelledFrame(image, mask, tuple(defects), tuple(parts))

    def defect_of(self, part: int) -> Defect | None:
        """Return the defect of plate number `part`, None when it is normal."""
        if self.spec.plan is not None:
            return self.spec.plan[part] if part < len(self.spec.plan) else None
        rng = np.random.default_rng([self.spec.seed, 3, part])
        if rng.random() >= self.spec.defects:
            return None
        kind = self.spec.kinds[rng.integers(len(self.spec.kinds))]
        return Defect(kind, float(rng.random()), float(rng.random()))

    def frames_of(self, part: int) -> tuple[int, int]:
        """Return the first and the last frame that may show a corner of plate number `part`."""
        reach = PLATE_WH[0] * 0.65 + _JITTER_XY[0]
        centre = part * PITCH
        leaves = centre + 2 * reach + self._hw[1] / self._scale
        return max(0, int(centre / SPEED)), int(np.ceil(leaves / SPEED))

    def frames_until(self, parts: int) -> int:
        """Return the number of frames until `parts` plates have left the view."""
        return self.frames_of(parts - 1)[1]

    def _in_view(self, moved: float) -> list[int]:
        """Return the numbers of the plates that may show at least a corner."""
        reach = (PLATE_WH[0] * 0.65 + _JITTER_XY[0]) * self._scale
        pitch = PITCH * self._scale
        first = int(np.ceil((moved - self._hw[1] - 2 * reach) / pitch))
        return list(range(max(0, first), int(np.floor(moved / pitch)) + 1))

    def _belt_at(self, moved: float) -> Field:
        """Return the belt in view, (H, W, 3); it moves to the right by whole pixels."""
        columns = (np.arange(self._hw[1]) - round(moved)) % self._belt.shape[1]
        return self._belt[:, columns]

    def _draw_part(self, number: int) -> _Part:
        rng = np.random.default_rng([self.spec.seed, 1, number])
        jitter_x, jitter_y = rng.uniform(-1, 1, 2) * _JITTER_XY
        turn = float(rng.uniform(-_TURN_DEG, _TURN_DEG))
        plate = draw_plate(rng, self._scale * _FINE)
        mask = np.zeros(plate.alpha.shape, np.bool_)
        defect = self.defect_of(number)
        if defect is not None:
            plate, mask = add_defect(plate, defect, rng)
        return _Part(
            number=number,
            centre_x=(number * PITCH + jitter_x) * self._scale,
            centre_y=self._hw[0] / 2 + jitter_y * self._scale,
            turn_deg=turn,
            colour=blur(plate.colour(), 0.4 * _FINE),
            alpha=blur(plate.alpha, 0.4 * _FINE),
            defect=defect,
            mask=mask.astype(np.float32),
        )

    def _draw(self, scene: Field, part: _Part, moved: float, metal: Field) -> NDArray[np.bool_]:
        """Draw a plate and its shadow into the scene; return where its defect is visible."""
        reach = PLATE_WH[0] * 0.65 * self._scale
        turn = _plate_to_frame(part, (moved - part.centre_x - reach, part.centre_y))
        size = (self._hw[1], self._hw[0])
        alpha, colour, mask = (
            np.asarray(cv2.warpAffine(layer, turn, size, flags=cv2.INTER_LINEAR), np.float32)
            for layer in (part.alpha, part.colour, part.mask)
        )
        shift = (round(4 * self._scale), round(3 * self._scale))
        shadow = blur(np.roll(alpha, shift, (0, 1)), 2.5 * self._scale)
        scene *= 1 - 0.5 * shadow[..., None]
        scene += (colour * metal - scene) * alpha[..., None]
        return (mask >= 0.5) & (self._rail_alpha < 0.5)


def _plate_to_frame(part: _Part, centre_xy: tuple[float, float]) -> NDArray[np.float64]:
    """Return the affine map from a plate's canvas to the frame."""
    height, width = part.alpha.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), part.turn_deg, 1 / _FINE)
    turn[:, 2] += np.array(centre_xy) - (width / 2, height / 2)
    return np.asarray(turn, np.float64)


def _instance(number: int, defect: Defect, visible: NDArray[np.bool_]) -> DefectInstance:
    x, y, width, height = cv2.boundingRect(visible.astype(np.uint8))
    return DefectInstance(number, defect.kind, (x, y, width, height), int(visible.sum()))
