"""Texture augmentation: three random operations out of ten (DRAEM, section 3.3).

Parameters and order follow the released code; images are uint8 (H, W, 3) BGR.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.synthesis.perlin import rotate
from edge_ad.synthesis.textures import Textures

Random = np.random.Generator
Operation = Callable[[Image, Random], Image]
OPERATIONS_PER_TEXTURE = 3

# conversion to the colour space and back, and its brightness channel
_BRIGHTNESS = (
    (cv2.COLOR_BGR2YCrCb, cv2.COLOR_YCrCb2BGR, 0),
    (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR, 2),
    (cv2.COLOR_BGR2HLS, cv2.COLOR_HLS2BGR, 1),
    (cv2.COLOR_BGR2Lab, cv2.COLOR_Lab2BGR, 0),
    (cv2.COLOR_BGR2Luv, cv2.COLOR_Luv2BGR, 0),
    (cv2.COLOR_BGR2YUV, cv2.COLOR_YUV2BGR, 0),
)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


class AugmentedTextures:
    """Textures augmented by three different operations in random order."""

    def __init__(self, textures: Textures) -> None:
        self.name = textures.name
        self._textures = textures

    def draw(self, rng: Random) -> Image:
        return augment(self._textures.draw(rng), rng)


def augment(texture: Image, rng: Random) -> Image:
    """Apply three of the ten operations, without repetition."""
    for place in rng.choice(len(OPERATIONS), OPERATIONS_PER_TEXTURE, replace=False):
        texture = OPERATIONS[int(place)](texture, rng)
    return texture


def gamma(image: Image, rng: Random) -> Image:
    """Raise each channel to a power of 0.5 to 2 of its own."""
    ramp = np.arange(256) / 255
    powers = rng.uniform(0.5, 2.0, 3)
    table = np.stack([255 * ramp**power for power in powers], axis=-1)
    return np.asarray(cv2.LUT(image, table.astype(np.uint8)[None]), np.uint8)  # cut off, as there


def brightness(image: Image, rng: Random) -> Image:
    """Scale brightness by 0.8 to 1.2 and shift it by up to 30, in a random colour space."""
    to_space, to_bgr, channel = _BRIGHTNESS[int(rng.integers(len(_BRIGHTNESS)))]
    factor, offset = rng.uniform(0.8, 1.2), int(rng.integers(-30, 31))
    space = cv2.cvtColor(image, to_space)
    values = space[..., channel].astype(np.float32)
    changed = values * factor + offset if rng.random() < 0.5 else (values + offset) * factor
    space[..., channel] = np.clip(changed, 0, 255)
    return np.asarray(cv2.cvtColor(space, to_bgr), np.uint8)


def sharpness(image: Image, rng: Random) -> Image:
    """Blend between smoothed (0), unchanged (1) and sharpened (2); the border pixels stay."""
    factor = rng.uniform(0, 2)
    smooth = image.astype(np.float32)
    smooth[1:-1, 1:-1] = cv2.filter2D(smooth, -1, _SMOOTH)[1:-1, 1:-1]
    return _image(smooth * (1 - factor) + image * factor)


def hue_and_saturation(image: Image, rng: Random) -> Image:
    """Shift hue and saturation by up to 50 of 255 each."""
    hue, saturation = (int(value) for value in rng.integers(-50, 51, 2))
    space = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
    space[..., 0] = (space[..., 0] + int(hue / 255 * 180)) % 180
    space[..., 1] = np.clip(space[..., 1] + saturation, 0, 255)
    return np.asarray(cv2.cvtColor(space.astype(np.uint8), cv2.COLOR_HSV2BGR), np.uint8)


def solarise(image: Image, rng: Random) -> Image:
    """Invert values above a threshold of 32 to 128, half of the time."""
    threshold, applied = int(rng.integers(32, 129)), rng.random() < 0.5
    return np.where((image >= threshold) & applied, 255 - image, image)


def posterise(image: Image, rng: Random) -> Image:
    """Keep the upper 1 to 8 bits."""
    dropped = 8 - int(rng.integers(1, 9))
    return np.asarray(image & (255 >> dropped << dropped), np.uint8)


def invert(image: Image, rng: Random) -> Image:
    """Invert every value."""
    return 255 - image


def autocontrast(image: Image, rng: Random) -> Image:
    """Stretch each channel so that up to 20 % of its values at either end become 0 or 255."""
    cut = float(rng.integers(0, 21))
    low, high = np.percentile(image, (cut, 100 - cut), axis=(0, 1))
    flat = high <= low
    stretched = _image((image - low) * (255 / np.where(flat, 1, high - low)))
    return np.where(flat, image, stretched)


def equalise(image: Image, rng: Random) -> Image:
    """Equalise the histogram of each channel."""
    channels = [cv2.equalizeHist(np.ascontiguousarray(image[..., c])) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def rotation(image: Image, rng: Random) -> Image:
    """Rotate by up to 45 degrees; the corners become black."""
    return _image(rotate(image.astype(np.float32), float(rng.uniform(-45, 45)), fill=0))


OPERATIONS: tuple[Operation, ...] = (
    gamma,
    brightness,
    sharpness,
    hue_and_saturation,
    solarise,
    posterise,
    invert,
    autocontrast,
    equalise,
    rotation,
)


def _image(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(values + 0.5, 0, 255), np.uint8)
