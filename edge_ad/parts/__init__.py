"""Parts: which images show the same part, and splits that keep a part's images together.

Images of one part are not independent: a detector tested on another exposure of a part it was
trained on looks better than it is, and a guarantee that counts images instead of parts breaks.
"""

from edge_ad.parts.assignment import How, PartAssignment, assign_parts
from edge_ad.parts.evidence import USUAL_RATE, parts_needed, rounded_up, supported_rate
from edge_ad.parts.identity import ImageId, identify
from edge_ad.parts.recognition import Recognition
from edge_ad.parts.split import split_parts

__all__ = [
    "USUAL_RATE",
    "How",
    "ImageId",
    "PartAssignment",
    "Recognition",
    "assign_parts",
    "identify",
    "parts_needed",
    "rounded_up",
    "split_parts",
    "supported_rate",
]
