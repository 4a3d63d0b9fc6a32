"""Checks of ground truth before anything is measured with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_ad.dataset.mask import Mask, mask_fault, read_mask, reason_of
from edge_ad.dataset.sample import Fault, Sample
from edge_ad.errors import DataError
from edge_ad.images import upright_size
from edge_ad.images.listing import NAMED


def read_truth(sample: Sample, image_hw: tuple[int, int]) -> Mask | None:
    """Decode an image's masks, joined, to bool (H, W); None for an anomalous one without.

    Normal images are all False. Raises DataError for a mask of another size than the image.
    """
    truth = np.zeros(image_hw, np.bool_)
    for path in sample.masks:
        mask = read_mask(path)
        if mask.shape != image_hw:
            raise DataError(f"{path}: {_size_reason(mask, image_hw)}")
        truth |= mask
    return truth if sample.masks or not sample.anomalous else None


def truth_faults(samples: Sequence[Sample]) -> list[Fault]:
    """Return the masks that cannot be true, with the reason.

    Masks are decoded; of the images they belong to, the size is read. An image that cannot be
    read is not the mask's fault: it is left out, and named, where it is scored.
    """
    return [fault for sample in samples if sample.masks and (fault := _fault(sample))]


def list_faults(faults: Sequence[Fault]) -> str:
    """Name the first ten files with their reasons, then count the rest."""
    named = [f"{fault.path}: {fault.reason}" for fault in faults[:NAMED]]
    rest = [f"and {len(faults) - NAMED} more"] if len(faults) > NAMED else []
    return "; ".join(named + rest)


def _fault(sample: Sample) -> Fault | None:
    path = sample.masks[0]
    try:
        size_hw = upright_size(sample.path)
    except DataError:
        return None
    try:
        truth = read_truth(sample, size_hw)
    except DataError as error:
        return _of_error(sample, error)
    assert truth is not None
    if not sample.anomalous:
        reason = f"marks {truth.sum()} pixels, though {sample.path.name} is a normal image"
        return Fault(path, reason) if truth.any() else None
    return Fault(path, reason) if (reason := mask_fault(truth)) else None


def _of_error(sample: Sample, error: DataError) -> Fault:
    """Separate the file's name from the reason of a DataError."""
    for path in sample.masks:
        if str(error).startswith(f"{path}: "):
            return Fault(path, reason_of(error, path))
    return Fault(sample.masks[0], str(error))


def _size_reason(mask: Mask, image_hw: tuple[int, int]) -> str:
    size, expected = (f"{hw[1]}x{hw[0]}" for hw in (mask.shape, image_hw))
    text = f"a mask of {size} for an image of {expected}; save it at the image's size"
    if mask.shape == image_hw[::-1]:
        text += ", and turned like the image (its orientation tag is obeyed)"
    return text


def affected(path: Path, samples: Sequence[Sample]) -> Sample | None:
    """Return the sample that a faulty file belongs to, None for a mask without an image."""
    return next((s for s in samples if path == s.path or path in s.masks), None)
