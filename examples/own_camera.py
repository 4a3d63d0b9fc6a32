"""Inspect the images of a camera that edge-ad does not know, with an alarm for 2 of 3 frames.

    python examples/own_camera.py

Replace `Camera` with the software of your camera: all it must deliver is uint8 BGR arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import edge_ad
from edge_ad import Detector
from edge_ad.inspection import Verdict
from edge_ad.line.debounce import Debounce
from edge_ad.synthetic_line import Defect, SyntheticLine, SyntheticLineSpec

ENGINE = Path(edge_ad.__file__).parent / "sample" / "engine.onnx"


class Camera:
    """A camera: here, every sixth frame of a generated line whose second plate has a scratch."""

    def images(self) -> Iterator[np.ndarray]:
        """Yield uint8 (H, W, 3) BGR arrays until the second plate has left the view."""
        plan = (None, Defect("scratch", size=0.9, contrast=1.0))
        line = SyntheticLine(SyntheticLineSpec(plan=plan))
        for index in range(0, line.frames_until(2), 6):
            yield line.frame_at(index).image


def main() -> None:
    alarm = Debounce(k=2, n=3)
    with Detector(ENGINE) as detector:
        for number, image in enumerate(Camera().images()):
            inspection = detector(image)
            if inspection.verdict is Verdict.INVALID:
                print(f"frame {number}: {inspection.reason}")
                continue
            was_raised = alarm.raised
            if alarm.update(inspection.verdict is Verdict.REJECT) and not was_raised:
                region = inspection.regions[0]
                print(f"ALARM at frame {number}: x={region.x}, y={region.y}")


if __name__ == "__main__":
    main()
