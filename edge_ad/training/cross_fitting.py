"""Scores of normal parts by nets that were not trained on them, where parts are too few to spare.

The parts are divided into folds. For each fold a net like the final one is trained on the others
and scores its parts; so all parts carry the threshold, and the final net learns from all. The cost
is one training more for each fold. The scores are those of other nets than the final one, so a
threshold from them is an estimate: nothing guarantees it (Barber et al., "Predictive inference with
the jackknife+", 2021, show how far such nets may differ).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from edge_ad.calibration.thresholds.scores import NormalScores, score_normal
from edge_ad.data_split import CrossFitted
from edge_ad.errors import DataError
from edge_ad.frame import Image
from edge_ad.images import BitDepth, read_image, reading
from edge_ad.methods.torch_engine import TorchEngine
from edge_ad.parts import ImageId, PartAssignment, split_parts
from edge_ad.training.part_split import PartSplit

TrainFold = Callable[[int, PartSplit], Path]  # number and split -> weights


def cross_fit(
    split: PartSplit, depth: BitDepth, ids: Mapping[Path, ImageId], train_fold: TrainFold
) -> CrossFitted:
    """Train and score each fold of the parts that the final net is trained on.

    `train_fold` trains on a split and returns the weights, which are deleted after scoring. Raises
    DataError for fewer parts than folds.
    """
    scored: list[tuple[Path, int, float, float]] = []
    for number, held_out in enumerate(folds_of(split), start=1):
        weights = train_fold(number, _without(split, held_out))
        scores = _score(weights, held_out, depth)
        weights.unlink()
        first = max((part for _, part, *_ in scored), default=-1) + 1
        numbers = {part: first + place for place, part in enumerate(dict.fromkeys(scores.parts))}
        rows = zip(scores.names, scores.parts, scores.image, scores.pixel, strict=True)
        scored += [(Path(name), numbers[part], image, peak) for name, part, image, peak in rows]
    return CrossFitted.of(
        split.folds, [(ids[path], part, image, peak) for path, part, image, peak in scored]
    )


def folds_of(split: PartSplit) -> list[dict[Path, str]]:
    """Divide the images trained on into folds of whole parts, by the parts' names alone."""
    parts = {path: split.assignment.parts[path] for path in split.trained}
    count = len(set(parts.values()))
    if count < split.folds:
        raise DataError(
            f"{count} parts cannot be divided into {split.folds} folds: give fewer folds, --folds "
            f"{max(2, count)} at most, or collect images of more parts."
        )
    every = PartAssignment(parts, split.assignment.how)
    sets = split_parts(every, {f"fold {number}": 1.0 for number in range(split.folds)}, seed=1)
    return [{path: parts[path] for path in paths} for paths in sets.values()]


def _without(split: PartSplit, held_out: Mapping[Path, str]) -> PartSplit:
    """Return the split of a fold's training: its parts serve no use."""
    out = set(held_out.values())

    def rest(paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path for path in paths if split.assignment.parts[path] not in out)

    trained, selection = rest(split.trained), rest(split.selection)
    if not selection:
        return replace(split, trained=trained, selection=trained, chosen_by="trained", folds=0)
    return replace(split, trained=trained, selection=selection, folds=0)


def _score(weights: Path, parts: Mapping[Path, str], depth: BitDepth) -> NormalScores:
    """Score images as on the line; near-duplicates count once."""
    with reading(depth):
        return score_normal(
            TorchEngine(weights), _read(parts), part_of=lambda name: parts[Path(name)]
        )


def _read(paths: Mapping[Path, str]) -> Iterator[tuple[str, Image]]:
    for path in paths:
        yield str(path), read_image(path)
