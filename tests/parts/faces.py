"""Images of parts, textured or plain: the same part again with other light, place and noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.images import write_image


def face(
    part: int, *, gain: float = 1.0, shift: tuple[int, int] = (0, 0), turn_deg: float = 0.0,
    noise: int = 0, design: bool = False,
) -> Image:  # fmt: skip
    """Return a part's brushed surface, uint8 (160, 200, 3).

    `shift` is x, y in pixels; `noise` seeds the sensor's. With `design`, every part has the same
    print on its left half.
    """
    rng = np.random.default_rng(part)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (220, 260)).astype(np.float32), (0, 0), 2.0)
    if design:
        ink = np.zeros(texture.shape, np.uint8)
        for line in range(60, 180, 20):
            cv2.putText(ink, "LOT 42 X7", (35, line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
        texture[ink > 0] = 1.2
    turn = cv2.getRotationMatrix2D((130, 110), turn_deg, 1)
    turn[:, 2] += shift
    moved = np.asarray(cv2.warpAffine(texture, turn, (260, 220)))[30:190, 30:230]
    grain = np.random.default_rng([noise, part]).normal(0, 2, moved.shape)
    gray = np.clip((110 + 160 * moved) * gain + grain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)


def disc(number: int, *, noise: float = 2.0) -> Image:
    """Return a shot of the same plain disc, uint8 (160, 200, 3): moved, with a sensor's noise."""
    rng = np.random.default_rng(number)
    gray = np.full((160, 200), 60, np.uint8)
    dx, dy = (int(shift) for shift in rng.integers(-5, 6, 2))
    cv2.circle(gray, (100 + dx, 80 + dy), 55, 150, -1, cv2.LINE_AA)
    noisy = gray * rng.uniform(0.8, 1.1) + rng.normal(0, noise, gray.shape)
    return np.asarray(
        cv2.cvtColor(noisy.round().clip(0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR), np.uint8
    )


def write_faces(folder: Path, parts: int, *, design: bool = False) -> None:
    """Write three images of each part: other exposures, moved and turned a little."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for gain, shift, turn in ((1.0, (0, 0), 0.0), (0.5, (6, -3), 1.0), (1.4, (-4, 5), -2.0)):
        for part in range(parts):
            image = face(part, gain=gain, shift=shift, turn_deg=turn, noise=number, design=design)
            write_image(folder / f"{number:03d}.png", image)
            number += 1
