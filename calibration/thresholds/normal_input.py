"""Open the normal images of a threshold: a folder by parts, or the frames of a source in a row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_ad.calibration.thresholds.drift import time_order
from edge_ad.calibration.thresholds.images import ImageFolder, SourceFrames
from edge_ad.calibration.thresholds.normal_images import (
    IdentifiedImages,
    NormalImages,
    choose_images,
)
from edge_ad.calibration.thresholds.scores import NormalScores, PartOf, Scores
from edge_ad.data_split import DataSplit
from edge_ad.dataset import left_out_beside, normal_images
from edge_ad.errors import UsageError
from edge_ad.geometry import Geometry
from edge_ad.manifest import ASSUMED
from edge_ad.parts import How, Recognition, assign_parts

_EXPRESSION = "--part-id "  # how a split made with this option names its rule


@dataclass(frozen=True)
class FittedScores:
    """Scores by `folds` nets, each of which was not trained on the parts that it scored."""

    folds: int
    scores: NormalScores


@dataclass(frozen=True)
class NormalInput:
    """Images of normal parts and what is known of them.

    `part_of` maps an image's name to its part. `order` are the names in the order of time, empty
    where the images come in it, and `ordered_by` says how that is known, empty where it is not.
    `notes` are sentences for the user; `doubt` says why the parts may be wrong. `fitted` are scores
    from nets that were not trained on the images, where the engine's own net was. `decided_by` says
    what decided which images show one part, as in `Threshold`; `recognition` whether looks tell
    parts apart, where they were asked.
    """

    images: ImageFolder | SourceFrames
    part_of: PartOf
    parts_from: str
    ordered_by: str = ""
    order: tuple[str, ...] = ()
    set_aside: int = 0
    frames_per_part: int | None = None
    notes: tuple[str, ...] = ()
    doubt: str = ""
    fitted: FittedScores | None = None
    decided_by: str = ""
    recognition: Recognition | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the files; a source has none."""
        return self.images.paths if isinstance(self.images, ImageFolder) else ()

    @property
    def count(self) -> int | None:
        """Return the number of images, None for a source, which is not known to end."""
        return len(self.images) if isinstance(self.images, ImageFolder) else None

    @property
    def frames_of_unknown_parts(self) -> bool:
        """Return whether frames count as parts without the user having said so."""
        return isinstance(self.images, SourceFrames) and self.frames_per_part is None

    def scores_over_time(self, scores: NormalScores) -> Scores:
        """Return the highest score of each part, in the order of the parts' first images."""
        return scores.by("part").image[self._parts_over_time(scores)]

    def brightness_over_time(self, scores: NormalScores) -> Scores:
        """Return the brightness of an image of each part in that order; empty if not measured."""
        brightness = scores.brightness_by_part()
        return brightness[self._parts_over_time(scores)] if len(brightness) else brightness

    def _parts_over_time(self, scores: NormalScores) -> list[int]:
        """Return the parts' numbers in the order of their first images."""
        number = {part: one for one, part in enumerate(dict.fromkeys(scores.parts))}
        part_of = dict(zip(scores.names, scores.parts, strict=True))
        names = self.order or tuple(scores.names)
        parts = dict.fromkeys(part_of[name] for name in names if name in part_of)
        return [number[part] for part in parts]


def open_folder(
    folder: Path,
    split: DataSplit | None,
    geometry: Geometry,
    part_id: str | None = None,
    how: How | None = None,
) -> NormalInput:
    """Choose the images of a folder that may carry a threshold, and find their parts.

    Where nothing is said of the parts, what was said to the training holds: an expression for any
    folder, that each image is a part for the training's own images. Raises what `choose_images`
    and `assign_parts` raise.
    """
    paths = normal_images(folder)
    identified = IdentifiedImages.of(paths) if split else None
    if part_id is None and how is None and split and identified:
        if split.rule.startswith(_EXPRESSION):
            part_id = split.rule.removeprefix(_EXPRESSION)
        if split.decided_by == How.EACH and identified.are_set_aside(split):
            how = How.EACH
    assigned = assign_parts(paths, part_id=part_id, root=folder, how=how, geometry=geometry)
    chosen = choose_images(assigned, split, identified)
    images = ImageFolder(folder, chosen.paths)
    images.left_out |= left_out_beside(paths) | chosen.left_out
    part_of = {images.name_of(path): part for path, part in chosen.parts.items()}
    ordered_by, order = time_order(chosen.paths) or ("", [])
    return NormalInput(
        images=images,
        part_of=part_of.__getitem__,
        parts_from=assigned.detail or assigned.how.value,
        ordered_by=ordered_by,
        order=tuple(images.name_of(path) for path in order),
        set_aside=chosen.set_aside,
        notes=chosen.notes,
        doubt="" if chosen.cross_fitted else assigned.doubt,
        fitted=_fitted(chosen, images, geometry),
        decided_by=ASSUMED if assigned.is_upper_bound else assigned.how.value,
        recognition=assigned.recognition,
    )


def _fitted(chosen: NormalImages, images: ImageFolder, geometry: Geometry) -> FittedScores | None:
    """Return the cross-fitted scores of the chosen images, if these were trained on."""
    fitted = chosen.cross_fitted
    if fitted is None:
        return None
    scores = NormalScores(geometry=geometry)
    for path, number in chosen.entries.items():
        name, part = images.name_of(path), chosen.parts[path]
        scores.add(name, fitted.image[number], fitted.peak[number], None, part)
    return FittedScores(fitted.folds, scores)


def open_frames(uri: str, limit: int | None, frames_per_part: int | None) -> NormalInput:
    """Open a video or camera; `frames_per_part` frames in a row show one part, one if not given."""
    length = frames_per_part or 1
    return NormalInput(
        images=SourceFrames(uri, limit),
        part_of=lambda name: f"part {int(name.removeprefix('frame ')) // length}",
        parts_from=f"{length} frames in a row" if length > 1 else "every frame is a part",
        ordered_by="frames",
        frames_per_part=frames_per_part,
    )


def check_options(*, folder: bool, frames: bool, frames_per_part: bool, parts: int) -> None:
    """Refuse options for frames with a folder, and options for parts of a folder with frames.

    `parts` counts the options given that tell parts of a folder apart.
    """
    if parts > 1:
        raise UsageError("--part-id and --parts-from exclude each other: give one of them.")
    if folder and (frames or frames_per_part):
        option = "--frames" if frames else "--frames-per-part"
        raise UsageError(f"{option} is for a video or a camera; --images names a folder.")
    if not folder and parts:
        raise UsageError(
            "--part-id and --parts-from are for a folder; for a video or a camera, say with "
            "--frames-per-part how many frames in a row show one part."
        )
