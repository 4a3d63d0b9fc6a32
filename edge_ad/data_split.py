"""Record which images and parts a detector was trained on, and which were set aside for what.

The lists travel in the manifest, as digests, so that a threshold can refuse images that the
detector learnt. They hold no name and no image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated

from msgspec import Meta

from edge_ad.stored import Stored

DIGITS = 16  # of a SHA-256: among a million images two agree by chance once in 37 million cases
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]


class ImageSet(Stored, frozen=True, kw_only=True):
    """A set of images: digests of their files, of their decoded pixels and of their parts' names.

    An image is one of the set when its file or its pixels agree. Part names count only where they
    come from the same rule as those they are compared with (`DataSplit.rule`).
    """

    files: tuple[Digest, ...] = ()
    pixels: tuple[Digest, ...] = ()
    parts: tuple[Digest, ...] = ()

    @classmethod
    def of(cls, images: Iterable[tuple[str, str]], parts: Iterable[str]) -> ImageSet:
        """Make a set of (file sha256, pixels sha256) in hex, and of part names."""
        files, pixels = zip(*images, strict=True) if (images := list(images)) else ((), ())
        return cls(
            files=tuple(sorted({digest[:DIGITS] for digest in files})),
            pixels=tuple(sorted({digest[:DIGITS] for digest in pixels})),
            parts=tuple(sorted({part_digest(part) for part in parts})),
        )

    def has_image(self, file_sha256: str, pixels_sha256: str) -> bool:
        """Return whether an image is in the set; a video's frame has no file digest ("")."""
        files, pixels, _ = self._sets
        return file_sha256[:DIGITS] in files or pixels_sha256[:DIGITS] in pixels

    def has_part(self, name: str) -> bool:
        """Return whether a part of that name is in the set."""
        return part_digest(name) in self._sets[2]

    @cached_property
    def _sets(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        return frozenset(self.files), frozenset(self.pixels), frozenset(self.parts)


class CrossFitted(Stored, frozen=True, kw_only=True):
    """Scores of normal images by nets that were not trained on their parts, one entry an image.

    `files` and `pixels` are digests as in `ImageSet`, `parts` the number of each image's part,
    `image` the image scores and `peak` the maps' maxima. Near-duplicates are left out.
    """

    folds: Annotated[int, Meta(ge=2)]
    files: tuple[Digest, ...]
    pixels: tuple[Digest, ...]
    parts: tuple[int, ...]
    image: tuple[float, ...]
    peak: tuple[float, ...]

    @classmethod
    def of(
        cls, folds: int, rows: Iterable[tuple[tuple[str, str], int, float, float]]
    ) -> CrossFitted:
        """Make it of rows of (file sha256, pixels sha256), part number, score and map's maximum."""
        ids, parts, image, peak = zip(*rows, strict=True)
        files, pixels = zip(*ids, strict=True)
        return cls(
            folds=folds,
            files=tuple(digest[:DIGITS] for digest in files),
            pixels=tuple(digest[:DIGITS] for digest in pixels),
            parts=parts,
            image=image,
            peak=peak,
        )

    def number_of(self, file_sha256: str, pixels_sha256: str) -> int | None:
        """Return the number of an image's entry; None for an image without one."""
        by_file, by_pixels = self._numbers
        number = by_file.get(file_sha256[:DIGITS])
        return by_pixels.get(pixels_sha256[:DIGITS]) if number is None else number

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[str, int]]:
        return (
            {digest: number for number, digest in enumerate(self.files)},
            {digest: number for number, digest in enumerate(self.pixels)},
        )


class DataSplit(Stored, frozen=True, kw_only=True):
    """The images a detector was trained on, and those set aside for choosing and for thresholds.

    `rule` is what decided which images show one part, like "part-id --part-id num_([0-9]+)"; empty
    where part names mean nothing outside one run, as when parts were found by comparing images.
    `decided_by` is what decided in the training (`parts.How`): "each" is the user's word for its
    images alone, which holds for them later, too.
    `cross_fitted` has scores of the images trained on, if the training made them (`--folds`).
    """

    rule: str = ""
    decided_by: str = ""
    trained: ImageSet = ImageSet()
    selection: ImageSet = ImageSet()
    threshold: ImageSet = ImageSet()
    cross_fitted: CrossFitted | None = None


def part_digest(name: str) -> str:
    """Return the digest of a part's name."""
    return hashlib.sha256(name.encode()).hexdigest()[:DIGITS]
