"""Inspect one image, and save a heat map of it.

    python examples/one_image.py                               a generated image, the shipped engine
    python examples/one_image.py part.png --engine destseg.onnx

Writes the image with the anomaly map over it to one_image.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import edge_ad
from edge_ad import Detector
from edge_ad.images import read_image
from edge_ad.synthetic_line import Defect, SyntheticLine, SyntheticLineSpec

ENGINE = Path(edge_ad.__file__).parent / "sample" / "engine.onnx"


def generated_image() -> np.ndarray:
    """Return a plate with a scratch, in the middle of the view."""
    line = SyntheticLine(SyntheticLineSpec(plan=(Defect("scratch", size=0.9, contrast=1.0),)))
    arrives, leaves = line.frames_of(0)
    return line.frame_at((arrives + leaves) // 2).image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--engine", type=Path, default=ENGINE)
    parser.add_argument("-o", "--output", type=Path, default=Path("one_image.png"))
    options = parser.parse_args()
    image = generated_image() if options.image is None else read_image(options.image)

    with Detector(options.engine) as detector:
        inspection = detector(image)

    print(f"{inspection.verdict.value}  {inspection.score:.3f} / {inspection.threshold:.3f}")
    for region in inspection.regions:
        print(f"  {region.width} x {region.height} pixels at x={region.x}, y={region.y}")
    if inspection.map is not None:
        level = np.nan_to_num(255 * inspection.map / np.nanmax(inspection.map)).astype(np.uint8)
        heat = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)
        cv2.imwrite(str(options.output), cv2.addWeighted(image, 0.6, heat, 0.4, 0))


if __name__ == "__main__":
    main()
