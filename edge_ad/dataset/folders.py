"""Folders without regard to case, and the pairing of images with masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_ad.dataset.names import is_mask_folder, masked_image
from edge_ad.dataset.sample import Fault
from edge_ad.errors import DataError
from edge_ad.images import list_folder

_ORPHAN = "a mask without an image of its name; expected IMAGE.png or IMAGE_mask.png"


def folders_in(folder: Path) -> list[Path]:
    """List the folders in `folder` by name, without hidden ones."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in inside if path.is_dir() and not path.name.startswith("."))


def folders_below(folder: Path) -> list[Path]:
    """List `folder` and all folders below it, by name, through links too; none twice.

    Raises DataError for a folder that cannot be read, whose images would be missing unnoticed.
    """
    seen, below, waiting = set[Path](), list[Path](), [folder]
    while waiting:
        place = waiting.pop()
        if (real := place.resolve()) in seen:  # a link leads back
            continue
        seen.add(real)
        below.append(place)
        waiting += reversed(sorted(_folders_of(place)))
    return below


def _folders_of(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise DataError(
            f"{folder}: the folder cannot be read ({error.strerror}). Make it readable, or move it."
        ) from error


def child(folder: Path, name: str) -> Path | None:
    """Return the folder `name` in `folder`, in any case; one in exactly this case comes first."""
    same = [path for path in folders_in(folder) if path.name.lower() == name]
    return next((path for path in same if path.name == name), same[0] if same else None)


def mask_folder(folder: Path) -> Path | None:
    """Return the folder of masks in `folder`, None without one."""
    return next((path for path in folders_in(folder) if is_mask_folder(path.name)), None)


def images_in(folder: Path | None) -> list[Path]:
    """List the images directly in `folder`; none when there is no folder."""
    return list(list_folder(folder).images) if folder is not None and folder.is_dir() else []


def images_below(folder: Path) -> list[Path]:
    """List the images in `folder` and all folders below it, without masks and hidden folders."""
    places = [
        place
        for place in folders_below(folder)
        if not any(is_mask_folder(name) or is_hidden(name) for name in steps_to(folder, place))
    ]
    return [path for place in places for path in split_masks(images_in(place))[0]]


def steps_to(folder: Path, place: Path) -> tuple[str, ...]:
    """Return the names of the folders from `folder` down to `place`."""
    return place.relative_to(folder).parts


def is_hidden(name: str) -> bool:
    """Return whether a folder is hidden, or one that a computer adds: __MACOSX, @eaDir."""
    return name.startswith((".", "__", "@"))


def unread_in(folder: Path | None) -> list[Path]:
    """List the files among a folder's images that OpenCV does not read, without hidden ones."""
    if folder is None or not folder.is_dir():
        return []
    names = [name for name in list_folder(folder).left_out if not name.startswith(".")]
    return [folder / name for name in names if not (folder / name).is_dir()]


class Pairs(NamedTuple):
    """Masks by image, and the files that do not pair."""

    masks: dict[Path, tuple[Path, ...]]
    faults: tuple[Fault, ...]


def pair(images: Sequence[Path], masks: Iterable[tuple[str, Path]]) -> Pairs:
    """Pair masks, each with the stem it goes by, with images of that stem in any case.

    `000_mask` belongs to an image `000_mask` if there is one, otherwise to `000`. A mask without
    an image is a fault, and so is one whose name two images share.
    """
    named = defaultdict(list)
    for image in images:
        named[image.stem.lower()].append(image)
    pairs: dict[Path, tuple[Path, ...]] = {}
    faults = []
    for stem, mask in masks:
        owner = named.get(stem.lower()) or named.get((masked_image(stem) or "").lower(), [])
        if len(owner) == 1:
            pairs[owner[0]] = (*pairs.get(owner[0], ()), mask)
        elif owner:
            names = ", ".join(path.name for path in owner)
            faults.append(Fault(mask, f"several images go by its name ({names})"))
        else:
            faults.append(Fault(mask, _ORPHAN))
    return Pairs(pairs, tuple(faults))


def masks_in(folder: Path | None) -> list[tuple[str, Path]]:
    """List a folder's masks with the stems they go by; those in a folder go by its name."""
    if folder is None or not folder.is_dir():
        return []
    direct = [(path.stem, path) for path in images_in(folder)]
    nested = [(place.name, path) for place in folders_in(folder) for path in images_in(place)]
    return direct + nested


def split_masks(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Separate images from masks that lie beside them: `Part0_label.bmp` beside `Part0.jpg`.

    A name that looks like a mask's without an image beside it is an image.
    """
    stems = {(path.parent, path.stem.lower()) for path in paths}

    def is_mask(path: Path) -> bool:
        image = masked_image(path.stem)
        return image is not None and (path.parent, image.lower()) in stems

    images, masks = list[Path](), list[Path]()
    for path in paths:
        (masks if is_mask(path) else images).append(path)
    return images, masks
