"""List the images of good parts in a folder, also where each part has a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_ad.dataset import images_below, normal_images
from edge_ad.dataset.folders import unread_in
from edge_ad.dataset.recognition import recognise
from edge_ad.errors import DataError


@dataclass(frozen=True, slots=True)
class PartImages:
    """Images of good parts, and files beside them that are no images."""

    images: list[Path]
    left_out: dict[Path, str]


def part_images(folder: Path, layout: str | None = None) -> PartImages:
    """List the normal training images of a data set, or all images in and below a plain folder.

    Raises DataError when there is no such folder or no image in it.
    """
    if folder.is_dir() and recognise(folder, layout) is None:
        images = images_below(folder)
        if not images:
            raise DataError(
                f"{folder}: no images in it or below. Collect some with: "
                f"edge-ad capture --camera 0 -o {folder}"
            )
    else:
        images = normal_images(folder, layout)
    places = {path.parent for path in images} | {folder}
    unread = [path for place in sorted(places) for path in unread_in(place)]
    return PartImages(images, dict.fromkeys(unread, "not an image that OpenCV reads"))
