"""Which files of a folder are images, and which are left out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_ad.wording import counted

# what OpenCV reads by its documentation; a build without one of them fails when it decodes
SUFFIXES = frozenset(
    ".avif .bmp .dib .exr .gif .hdr .j2k .jfif .jp2 .jpe .jpeg .jpg .jpc .pam .pbm .pfm .pgm .pic "
    ".png .pnm .ppm .pxm .ras .sr .tif .tiff .webp".split()
)
# what edge-ad itself writes and reads beside images, neither an image nor left out
BESIDE = frozenset({"parts.csv", "capture.jsonl"})
FOLDER = "a folder"  # why a folder in a folder is left out
NAMED = 10  # left-out files that are named; the others are counted
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The entries directly in a folder: images by name, and `left_out`, name to reason."""

    images: tuple[Path, ...]
    left_out: dict[str, str]

    def __len__(self) -> int:
        return len(self.images) + len(self.left_out)


def list_folder(folder: Path) -> FolderListing:
    """Sort the entries of a folder into images and what is left out, both by name.

    An entry with the name of an image that cannot be opened counts as an image, so that reading it
    fails by name.
    """
    images, left_out = list[Path](), dict[str, str]()
    for path in sorted(path for path in folder.iterdir() if path.name not in BESIDE):
        if reason := _no_image(path):
            left_out[path.name] = reason
        else:
            images.append(path)
    return FolderListing(tuple(images), left_out)


def list_images(folder: Path) -> list[Path]:
    """List the images directly in `folder`, by name; what is left out is named in the log."""
    listing = list_folder(folder)
    if listing.left_out:
        _log.warning("%s: left out %s", folder, named(listing.left_out))
    return list(listing.images)


def named(left_out: Iterable[str], limit: int = NAMED) -> str:
    """Return the number of left-out files and the names of the first ten."""
    names = list(left_out)
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{counted(len(names), 'file')}: {', '.join(names[:limit])}{rest}"


def left_out_lines(reasons: Collection[str]) -> Iterator[str]:
    """Yield a line for each of the first ten reasons, and one that counts the others."""
    for reason in list(reasons)[:NAMED]:
        yield f"left out: {reason}"
    if len(reasons) > NAMED:
        yield f"left out: {len(reasons) - NAMED} more"


def _no_image(path: Path) -> str:
    """Return why an entry is not an image to read, or an empty string."""
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return FOLDER
    if path.suffix.lower() not in SUFFIXES:
        return f"not an image that OpenCV reads ('{path.suffix or 'no suffix'}')"
    if path.exists() and not path.is_file():
        return "not a file"
    return ""
