"""Ground-truth masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.images.bit_depth import read_image


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Decode a ground-truth mask to bool (H, W): anomalous where its grey value exceeds 127."""
    return cv2.cvtColor(read_image(path), cv2.COLOR_BGR2GRAY) > 127
