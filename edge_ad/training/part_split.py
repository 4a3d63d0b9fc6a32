"""Divide the images by part: to train on, to choose by, and for the threshold.

A detector scores images of a part it was trained on lower than those of any other, other exposures
included. So whole parts are set aside, and no part serves two of the three uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_ad.data_split import DataSplit, ImageSet
from edge_ad.geometry import Geometry
from edge_ad.methods.learning.settings import SetAside
from edge_ad.parts import (
    USUAL_RATE,
    How,
    PartAssignment,
    assign_parts,
    parts_needed,
    rounded_up,
    split_parts,
    supported_rate,
)
from edge_ad.training.data import NormalTiles

LEAST_FOR_THRESHOLD = 10  # parts; a fifth of fewer is one part, which supports nothing
LEAST_FOR_CHOICE = 4
CONFIDENCE = 0.95  # for messages; `threshold` takes others
ChosenBy = Literal["parts", "images", "trained"]
Tiles = NDArray[np.intp]


@dataclass(frozen=True)
class PartSplit:
    """The images of each use. `chosen_by` says what the selection consists of.

    That is whole `parts`; other `images` of parts that are trained on; or the images `trained` on.
    With `folds`, the parts trained on carry the threshold too, see `cross_fitting`.
    """

    assignment: PartAssignment
    trained: tuple[Path, ...]
    selection: tuple[Path, ...]
    threshold: tuple[Path, ...]
    chosen_by: ChosenBy
    folds: int = 0

    def tiles(self, normal: NormalTiles) -> tuple[Tiles, Tiles]:
        """Return the numbers of the tiles to train on and of those to choose by."""
        return _tiles_of(self.trained, normal), _tiles_of(self.selection, normal)

    def record(self, normal: NormalTiles) -> DataSplit:
        """Return the lists that travel with the weights."""
        identity = dict(zip(normal.paths, normal.ids, strict=True))
        sets: dict[str, Any] = {
            use: ImageSet.of([identity[path] for path in paths], self._parts_of(paths))
            for use, paths in self._uses().items()
        }
        decided_by = self.assignment.how.value
        return DataSplit(rule=self.assignment.rule, decided_by=decided_by, **sets)

    def report(self) -> dict[str, Any]:
        """Return how parts were distinguished, and images and parts of each use."""
        recognition = self.assignment.recognition
        return {
            "decided_by": self.assignment.how.value,
            "detail": self.assignment.detail,
            "doubt": self.assignment.doubt or None,
            "second_exposures": asdict(recognition) if recognition else None,
            "parts": len(self.assignment.groups()),
            **{
                use: {"images": len(paths), "parts": len(self._parts_of(paths))}
                for use, paths in self._uses().items()
            },
            "chosen_by": self.chosen_by,
            "folds": self.folds,
            "supported_rate": self.supported_rate,
            "confidence": CONFIDENCE,
        }

    @property
    def supported_rate(self) -> float | None:
        """Return the lowest false-alarm rate that the parts for the threshold support, if any."""
        parts = self._threshold_parts
        return supported_rate(parts, CONFIDENCE) if parts else None

    @property
    def _threshold_parts(self) -> int:
        return len(self._parts_of(self.trained if self.folds else self.threshold))

    def __str__(self) -> str:
        parts, detail = len(self.assignment.groups()), self.assignment.detail
        return f"parts: {parts} ({detail}): {self.summary()}"

    def summary(self) -> str:
        """Return the number of parts of each use, in words."""
        counts = {use: len(self._parts_of(paths)) for use, paths in self._uses().items()}
        chosen = counts["selection"] if self.chosen_by == "parts" else "none"
        return (
            f"{counts['trained']} to train on, {chosen} to choose by, "
            f"{counts['threshold'] or 'none'} set aside for the threshold"
        )

    def notes(self) -> list[str]:
        """Return what the user should know before hours of training."""
        lines = [self.assignment.doubt] if self.assignment.doubt else []
        if self.folds:
            lines.append(
                f"{self.folds} folds: {self.folds + 1} trainings in all, so about "
                f"{self.folds + 1} times the time of one. The threshold will be an estimate, not a "
                "guarantee, since other nets than the final one score its parts."
            )
        lines += self._threshold_notes()
        if self.chosen_by != "parts":
            shown = "are trained on" if self.chosen_by == "trained" else "show parts trained on"
            lines.append(f"The images to choose by {shown}: expect a choice that favours them.")
        return lines

    def _threshold_notes(self) -> list[str]:
        needed, rate = parts_needed(USUAL_RATE, CONFIDENCE), self.supported_rate
        if rate is None:
            return [
                "No part is set aside, so no threshold can be set from these images: give "
                "threshold images of other parts. A false-alarm rate of "
                f"{USUAL_RATE:g} with confidence {CONFIDENCE:g} needs {needed}."
            ]
        if rate <= USUAL_RATE:
            return []
        where = "in folds" if self.folds else "set aside"
        return [
            f"The {self._threshold_parts} parts {where} support a false-alarm rate of "
            f"{rounded_up(rate):g} at best, with confidence {CONFIDENCE:g}; {USUAL_RATE:g} needs "
            f"{needed}. Collect images of more parts, for training or for the threshold alone."
        ]

    def _uses(self) -> dict[str, tuple[Path, ...]]:
        return {
            "trained": self.trained,
            "selection": self.selection,
            "threshold": self.threshold,
        }

    def _parts_of(self, paths: Iterable[Path]) -> set[str]:
        return {self.assignment.parts[path] for path in paths}


def split_by_part(
    normal: NormalTiles,
    root: Path,
    aside: SetAside,
    *,
    geometry: Geometry | None = None,
    part_id: str | None = None,
    how: How | None = None,
    folds: int = 0,
) -> PartSplit:
    """Divide the images by part; which parts a use gets does not depend on the seed.

    Of fewer than four parts some images of the trained parts serve to choose, unless the shares are
    given. Raises UsageError and DataError as `assign_parts` and `split_parts` do.
    """
    assigned = assign_parts(normal.paths, part_id=part_id, root=root, how=how, geometry=geometry)
    known, count = tuple(assigned.parts), len(assigned.groups())
    shares = _shares(aside, count, folds)
    if not shares:
        return PartSplit(assigned, known, known, (), "trained", folds)
    if not aside.shares_given and count < LEAST_FOR_CHOICE:
        return replace(_by_images(normal, assigned), folds=folds)
    sets = split_parts(assigned, {"trained": 1 - sum(shares.values()), **shares}, aside.draw)
    trained, selection, threshold = (
        tuple(sets.get(use, ())) for use in ("trained", "selection", "threshold")
    )
    if not selection:
        return PartSplit(assigned, trained, trained, threshold, "trained", folds)
    return PartSplit(assigned, trained, selection, threshold, "parts", folds)


def _shares(aside: SetAside, parts: int, folds: int) -> dict[str, float]:
    """Return the share of each use; with folds, or of few parts, none is for the threshold."""
    shares = aside.shares
    if folds or (parts < LEAST_FOR_THRESHOLD and not aside.shares_given):
        shares.pop("threshold", None)
    return shares


def _by_images(normal: NormalTiles, assigned: PartAssignment) -> PartSplit:
    """Hold back images of parts that are trained on: a poor choice, and no threshold."""
    known = [path for path in normal.paths if path in assigned.parts]
    trained, selection = (tuple(known[number] for number in side)
                          for side in hold_back(len(known)))  # fmt: skip
    same = trained == selection
    return PartSplit(assigned, trained, selection, (), "trained" if same else "images")


def hold_back(images: int) -> tuple[list[int], list[int]]:
    """Return the numbers of images to train on and of a tenth held back, in runs.

    Neighbours by name often show one part. Fewer than eight images are used for both.
    """
    every = list(range(images))
    if images < 8:
        return every, every
    run = min(4, images // 8)
    period = 10 * run
    back = {number for number in every if number % period >= period - run}
    back = back or set(every[-run:])
    return [number for number in every if number not in back], sorted(back)


def _tiles_of(paths: Iterable[Path], normal: NormalTiles) -> Tiles:
    number = {path: index for index, path in enumerate(normal.paths)}
    return np.flatnonzero(np.isin(normal.image, [number[path] for path in paths]))
