"""List the images of good parts in a folder, also where each part has a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_ad.dataset import left_out_beside, list_normal_images


@dataclass(frozen=True, slots=True)
class PartImages:
    """Images of good parts, and files beside them that are left out, with the reason."""

    images: list[Path]
    left_out: dict[Path, str]


def part_images(folder: Path, layout: str | None = None) -> PartImages:
    """List the images that `train` takes from a folder, and what it leaves out beside them.

    Raises DataError as `normal_images` does.
    """
    images = list_normal_images(folder, layout)
    left_out = {Path(name): reason for name, reason in left_out_beside(images).items()}
    return PartImages(images, left_out)
