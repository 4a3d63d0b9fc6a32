"""Simulate a second exposure of the part in an image, to see whether it would be recognised.

The two exposures must not share the noise of the one image there is. Normal noise z, as strong as
the image's own, is therefore added for the first exposure and subtracted for the second: noises
n + z and n - z are independent (Neufeld et al., "Data thinning for convolution-closed
distributions", 2024), while what the part shows stays in both. Each then has twice the noise, so
the answer errs towards "not recognised".
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Gray: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

# answers 0 to a plane and the standard deviation of white noise to noise (Immerkaer, "Fast noise
# variance estimation", 1996)
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
_AROUND_PX = 8.0  # noise depends on brightness, and none is left where the image is black or white
_LEAST, _MOST = 2.0, 3.0  # grey levels: compression hides less, few cameras have more
_SMOOTH = 0.1  # quantile of places: a tenth of a usual image has no structure
_SHIFT, _TURN_DEG = 0.05, 3.0  # largest, in shares of the shorter side; `agreement` allows 4 deg
_GAIN, _GAMMA = (0.75, 1.2), (0.8, 1.25)


def two_exposures(gray: Gray, rng: np.random.Generator) -> tuple[Gray, Gray]:
    """Return two exposures of what an image (H, W) shows: in its place, and moved in other light.

    The second is shifted by up to 5 % of the shorter side, turned by up to 3 degrees, and darker or
    brighter. Their noise is independent, and of twice the image's variance.
    """
    light = gray.astype(np.float32)
    noise = noise_levels(light) * rng.standard_normal(gray.shape, np.float32)
    return _levels(light + noise), _other_light(_moved(light - noise, rng), rng)


def noise_levels(light: Floats) -> Floats:
    """Return the standard deviation of the noise around each pixel of (H, W), in grey levels.

    Fine structure counts as noise, too. At half the size, smooth places show noise that compression
    or interpolated colours hide at full size.
    """
    half_wh = [max(1, side // 2) for side in light.shape[::-1]]
    half = np.asarray(cv2.resize(light, half_wh, interpolation=cv2.INTER_AREA), np.float32)
    hidden = 2 * float(np.quantile(_deviation(half, _AROUND_PX / 2), _SMOOTH))
    least = min(max(hidden, _LEAST), _MOST)
    return np.asarray(np.maximum(_deviation(light, _AROUND_PX), least), np.float32)


def _deviation(light: Floats, around_px: float) -> Floats:
    fine = cv2.filter2D(light, -1, _NOISE, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), around_px)), np.float32)


def _moved(light: Floats, rng: np.random.Generator) -> Floats:
    height, width = light.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-_TURN_DEG, _TURN_DEG), 1)
    turn[:, 2] += rng.uniform(-_SHIFT, _SHIFT, 2) * min(height, width)
    moved = cv2.warpAffine(light, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _other_light(light: Floats, rng: np.random.Generator) -> Gray:
    """Return another exposure, up to 25 % darker or 20 % brighter, by another gamma."""
    share = np.clip(light / 255, 0, 1) ** rng.uniform(*_GAMMA)
    return _levels(255 * share * rng.uniform(*_GAIN))


def _levels(light: NDArray[np.floating]) -> Gray:
    return np.asarray(np.clip(light, 0, 255).round(), np.uint8)
