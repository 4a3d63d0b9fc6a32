"""Whether parts lie at any angle: a part that was turned between two images is not recognised.

The amplitude spectrum of an image turns with it and is indifferent to shifts (Reddy and Chatterji,
"An FFT-based technique for translation, rotation, and scale-invariant image registration", 1996,
section II). The outline of a part shows in it as well as the grain of a sheet, so images of two
parts agree at the angle between them, though their surfaces differ. A round part without a grain
shows no angle, nor does a half turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Directions: TypeAlias = NDArray[np.float32]

_SIDE = 128  # pixels of the square that is looked at, in the middle of the image
_ANGLES = 90  # in half a turn: steps of 2 degrees
_UPRIGHT = 3  # steps: 6 degrees either way are two images that each lie within 3
_COARSEST, _FINEST = 2, _SIDE // 2 - 8  # radii: neither shading nor the corners' frequencies
_AGREE, _FARTHER = 0.5, 0.2  # at an angle, and how much more than upright
_LEAST_PAIRS = 8
_MANY = 0.25  # of pairs: 0 where parts lie alike, 0.7 and more where they lie at any angle


def directions(gray: NDArray[np.uint8]) -> Directions:
    """Return how brightness (H, W) changes by direction, float32 (90, radii), of length 1."""
    height, width = gray.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = gray[top : top + side, left : left + side]
    small = cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    window = np.hanning(_SIDE)
    spectrum = np.abs(np.fft.fft2((small - small.mean()) * np.outer(window, window)))
    amplitudes = np.log1p(np.fft.fftshift(spectrum)).astype(np.float32)
    centre, size = (_SIDE / 2, _SIDE / 2), (_SIDE // 2, 2 * _ANGLES)
    polar = cv2.warpPolar(amplitudes, size, centre, _SIDE / 2, cv2.WARP_POLAR_LINEAR)
    both = (polar[:_ANGLES] + polar[_ANGLES:])[:, _COARSEST:_FINEST]  # a real image's are alike
    smooth = cv2.GaussianBlur(np.vstack([both] * 3), (0, 0), 2.0)[_ANGLES : 2 * _ANGLES]
    varying = smooth - smooth.mean(0)
    return np.asarray(varying / (np.linalg.norm(varying) + 1e-6), np.float32)


def lie_at_any_angle(images: Sequence[Directions]) -> bool:
    """Return whether many pairs of images agree when one is turned, and not as they are."""
    count = len(images)
    pairs = {(one, (one + step) % count) for one in range(count) for step in (1, count // 2)}
    turned = [_is_turned(images[one], images[other]) for one, other in pairs if one != other]
    return len(turned) >= _LEAST_PAIRS and sum(turned) >= _MANY * len(turned)


def _is_turned(one: Directions, other: Directions) -> bool:
    spectra = np.fft.rfft(one, axis=0) * np.conj(np.fft.rfft(other, axis=0))
    by_angle = np.roll(np.fft.irfft(spectra, _ANGLES, axis=0).sum(1), _UPRIGHT)
    upright, turned = by_angle[: 2 * _UPRIGHT + 1].max(), by_angle[2 * _UPRIGHT + 1 :].max()
    return bool(turned >= max(_AGREE, upright + _FARTHER))
