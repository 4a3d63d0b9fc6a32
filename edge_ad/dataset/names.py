"""Names of folders and files that say what is normal and what is a mask, in any case."""

from __future__ import annotations

import re

_NORMAL = frozenset({"good", "ok", "normal", "nominal", "defectfree", "nodefect", "nondefective"})
_MASKS = frozenset({"groundtruth", "gt", "mask", "masks", "label", "labels"})
_MASK_NAME = re.compile(
    r"(?P<image>.+?)[_\-. ](?:mask|label|gt|ground[_-]?truth)s?(?:[_\-. ]?\d+)?", re.IGNORECASE
)


def is_normal(name: str) -> bool:
    """Return whether a folder or a label of this name holds normal images: good, OK, normal."""
    return _plain(name) in _NORMAL


def is_mask_folder(name: str) -> bool:
    """Return whether a folder of this name holds masks: ground_truth, Masks, labels, gt."""
    return _plain(name) in _MASKS


def masked_image(stem: str) -> str | None:
    """Return the stem of the image that `stem` masks, None for a name that is not a mask's.

    `000_mask`, `Part0_label`, `12345_GT` and `000_mask_2` are masks.
    """
    match = _MASK_NAME.fullmatch(stem)
    return match["image"] if match else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())
