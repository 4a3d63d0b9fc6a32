"""Whether looks tell parts apart: would a second exposure of an image's part be recognised?

On a smooth part or one of many with the same print, nothing that an image shows belongs to this
part alone. Its images then count as so many parts, and a guarantee by part counts too many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.images import scaled
from edge_ad.parts.comparison import Agreement, Detail, agreement, detail_of_gray
from edge_ad.parts.second_exposure import Gray, two_exposures
from edge_ad.parts.turns import Directions, directions, lie_at_any_angle

_TRIED = 40  # images, evenly spread; of a true half, 11 to 29 are recognised in 99 of 100 cases
_FINER = 2  # times the resolution that is compared: fine enough to show noise, and fast
_SEED = 0  # the same folder gives the same answer


@dataclass(frozen=True, slots=True)
class Recognition:
    """How many second exposures were tried, and how many of them were recognised.

    With `at_any_angle`, parts lie turned to each other by more than a second exposure is.
    """

    tried: int
    recognised: int
    at_any_angle: bool = False

    @property
    def is_reliable(self) -> bool:
        """Return whether looks tell parts apart: they lie alike, and half are recognised."""
        return self.recognises_half and not self.at_any_angle

    @property
    def recognises_half(self) -> bool:
        """Return whether at least half of the second exposures were recognised.

        The trial is harder than usual images, see `second_exposure`. Of magnetic tiles, whose pairs
        of images are found to 97 %, it recognises 70 %; where nothing can be recognised, up to 20 %
        (benchmarks/bench_parts.py).
        """
        return 2 * self.recognised >= self.tried


class SecondExposures:
    """Simulates a second exposure of some of the images, evenly spread over the `images` to come.

    `scale` is that of the details that are compared.
    """

    def __init__(self, scale: float, images: int) -> None:
        self._working = min(1.0, _FINER * scale)
        self._scale = scale / self._working
        self._images, self._tried = images, min(_TRIED, images)
        self._added = 0
        self._exposures: list[tuple[Detail, Detail]] = []
        self._directions: list[Directions] = []

    def add(self, image: Image) -> None:
        """Add the next image uint8 (H, W, 3)."""
        due = (self._added + 1) * self._tried // self._images
        if due > self._added * self._tried // self._images:
            gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
            small = scaled(gray, self._working)
            self._exposures.append(self._simulate(small))
            self._directions.append(directions(small))
        self._added += 1

    def recognition(self, recognised: Callable[[Agreement], NDArray[np.bool_]]) -> Recognition:
        """Return the outcome; `recognised` decides by agreements (n, cells)."""
        same = recognised(self.agreements())
        return Recognition(len(same), int(same.sum()), lie_at_any_angle(self._directions))

    def agreements(self) -> Agreement:
        """Return how each pair of exposures agrees, as `agreement` does, (n, cells)."""
        return np.stack([agreement(first, second) for first, second in self._exposures])

    def _simulate(self, small: Gray) -> tuple[Detail, Detail]:
        rng = np.random.default_rng([_SEED, self._added])
        first, second = two_exposures(small, rng)
        return detail_of_gray(first, self._scale), detail_of_gray(second, self._scale)
