"""Choose the images that may carry a threshold: of which parts, and none that was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from edge_ad.data_split import CrossFitted, DataSplit, ImageSet
from edge_ad.errors import DataError, GateFailed
from edge_ad.parts import ImageId, PartAssignment, identify

_NAMED = 3


@dataclass(frozen=True)
class NormalImages:
    """Images with the part that each shows; `set_aside` of them were set aside in training.

    With `cross_fitted`, these were trained on, and their scores come from there; the number of each
    image's entry is in `entries`. `notes` are sentences for the user, `left_out` images that do not
    count with the reason.
    """

    parts: dict[Path, str]
    set_aside: int = 0
    notes: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    cross_fitted: CrossFitted | None = None
    entries: dict[Path, int] = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        return list(self.parts)


class IdentifiedImages(NamedTuple):
    """The identities of images, and why others cannot be read."""

    known: dict[Path, ImageId]
    unreadable: dict[str, str]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> IdentifiedImages:
        """Read each image once."""
        images = cls({}, {})
        for path in paths:
            try:
                images.known[path] = identify(path)
            except DataError as error:
                images.unreadable[str(path)] = str(error)
        return images

    def are_set_aside(self, split: DataSplit) -> bool:
        """Return whether the training left some of them for a threshold, or cross-fitted them."""
        fitted = split.cross_fitted
        return any(
            split.threshold.has_image(*one) or (fitted and fitted.number_of(*one) is not None)
            for one in self.known.values()
        )


def choose_images(
    assigned: PartAssignment, split: DataSplit | None, images: IdentifiedImages | None = None
) -> NormalImages:
    """Return the images that a threshold may come from; `images` spares reading them again.

    Without a record of the training, all of them. When some were set aside for thresholds, those
    alone; of images trained on, those with cross-fitted scores; else all, provided that neither
    they nor other images of their parts were trained on or used to choose the detector. Raises
    GateFailed otherwise.
    """
    left_out = {str(path): f"{path}: {reason}" for path, reason in assigned.left_out.items()}
    if split is None:
        return NormalImages(assigned.parts, left_out=left_out)
    identities, unreadable = images or IdentifiedImages.of(assigned.parts)
    known = {path: one for path, one in identities.items() if path in assigned.parts}
    left_out = unreadable | left_out
    aside = _parts_in(split.threshold, split, assigned, known)
    used = _parts_in(split.trained, split, assigned, known)
    used |= _parts_in(split.selection, split, assigned, known)
    chosen = {path: part for path, part in assigned.parts.items()
              if path in known and part in aside - used}  # fmt: skip
    new = sum(part not in aside | used for path, part in assigned.parts.items() if path in known)
    if chosen:
        return NormalImages(chosen, len(chosen), tuple(_notes(chosen, assigned, new)), left_out)
    if used and split.cross_fitted and (fitted := _fitted(split.cross_fitted, assigned, known)):
        return replace(fitted, left_out=left_out)
    if used:
        raise GateFailed(*_refusal(assigned, used, new, any_aside=bool(split.threshold.files)))
    unused = {path: part for path, part in assigned.parts.items() if path in known}
    return NormalImages(unused, left_out=left_out)


def _fitted(
    fitted: CrossFitted, assigned: PartAssignment, known: Mapping[Path, ImageId]
) -> NormalImages | None:
    """Return the images with cross-fitted scores, by the parts of the training; None for none."""
    found = {path: fitted.number_of(*identity) for path, identity in known.items()}
    entries = {path: number for path, number in found.items() if number is not None}
    if not entries:
        return None
    parts = {path: f"part {fitted.parts[number]}" for path, number in entries.items()}
    note = (
        f"Used the scores that {fitted.folds} nets gave to {len(entries)} images of "
        f"{len(set(parts.values()))} parts that they were not trained on; "
        f"{len(assigned.parts) - len(entries)} others were not used."
    )
    return NormalImages(parts, notes=(note,), cross_fitted=fitted, entries=entries)


def _parts_in(
    images: ImageSet, split: DataSplit, assigned: PartAssignment, known: Mapping[Path, ImageId]
) -> set[str]:
    """Return the parts of which an image is in the set, or whose name is, by the same rule."""
    found = {assigned.parts[path] for path, one in known.items() if images.has_image(*one)}
    if split.rule and split.rule == assigned.rule:
        found |= {part for part in assigned.groups() if images.has_part(part)}
    return found


def _notes(chosen: Mapping[Path, str], assigned: PartAssignment, new: int) -> Iterator[str]:
    parts = len(set(chosen.values()))
    rest = len(assigned.parts) - len(chosen)
    yield (
        f"Used the {len(chosen)} images of {parts} parts that the training had set aside for "
        f"thresholds; {rest} others were not used."
    )
    if new:
        yield f"{_new_ones(new)}: more parts support a lower rate."


def _new_ones(new: int) -> str:
    return (
        f"{new} images show parts that the training did not have; give them a folder of their own"
    )


def _refusal(
    assigned: PartAssignment, used: set[str], new: int, *, any_aside: bool
) -> tuple[str, dict[str, object]]:
    images = [path for path, part in assigned.parts.items() if part in used]
    names = ", ".join(path.name for path in images[:_NAMED])
    advice = (
        "or the whole training folder, whose parts the training set aside for this."
        if any_aside
        else "since the training set none aside; or train again with images of more parts, or with "
        "--folds."
    )
    if new:
        advice += f" {_new_ones(new)}."
    doubt = f" In this folder {assigned.doubt}" if assigned.doubt else ""
    return (
        f"the detector was trained on {len(used)} of these {len(assigned.groups())} parts "
        f"({len(images)} of {len(assigned.parts)} images, like {names}), or was chosen by them. It "
        "may score new parts higher, and then the line rejects more than guaranteed, so nothing is "
        f"stored. Give images of parts that it was not trained on, {advice}{doubt}",
        {"trained_parts": len(used), "trained_images": len(images),
         "parts": len(assigned.groups()), "images": len(assigned.parts)},
    )  # fmt: skip
