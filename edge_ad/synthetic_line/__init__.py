"""Synthetic inspection line: printed plates on a belt, seen from above, with ground truth.

Everything is drawn with numpy and OpenCV from one seed: the same seed gives the same pixels, and
any frame can be drawn without those before it. Lengths are in frame pixels at 320 x 240; other
frame sizes scale with the height.
"""

from edge_ad.synthetic_line.defects import KINDS, Defect
from edge_ad.synthetic_line.scene import (
    DefectInstance,
    LabelledFrame,
    SyntheticLine,
    SyntheticLineSpec,
)

__all__ = [
    "KINDS",
    "Defect",
    "DefectInstance",
    "LabelledFrame",
    "SyntheticLine",
    "SyntheticLineSpec",
]
