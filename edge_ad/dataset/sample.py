"""Labelled images, and what a layout lists of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, overload

NORMAL = "good"  # the kind of every normal image, whatever its folder is called


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image; `kind` is `good` or the defect type, `masks` its ground truth.

    Several masks of one image are joined: a pixel is anomalous where any of them marks it.
    """

    path: Path
    kind: str
    masks: tuple[Path, ...] = ()

    @property
    def anomalous(self) -> bool:
        return self.kind != NORMAL


class Fault(NamedTuple):
    """A file whose label cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Listing:
    """Files of a data set by their role, as a layout reads them; nothing is decoded yet.

    `train` are normal images to learn from, `samples` those to test with. `left_out` are files
    among the images that OpenCV cannot read, `others` images of a part that is used neither for
    training nor for testing. With `masks_decide`, only a mask says whether its image is normal.
    """

    train: tuple[Path, ...] = ()
    samples: tuple[Sample, ...] = ()
    faults: tuple[Fault, ...] = ()
    left_out: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    masks_decide: bool = False


@dataclass(frozen=True)
class LabelledSet(Sequence[Sample]):
    """The test images of a data set, normal ones first, with its layout and what was left out."""

    folder: Path
    layout: str
    title: str
    samples: tuple[Sample, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        return self.samples[index]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def listed(self) -> int:
        """Return how many files the folder has for testing: usable ones and those left out."""
        return len(self.samples) + len(self.left_out)

    @property
    def types(self) -> list[str]:
        return sorted({sample.kind for sample in self.samples if sample.anomalous})

    @property
    def masked(self) -> int:
        """Return how many anomalous images have a mask."""
        return sum(sample.anomalous and bool(sample.masks) for sample in self.samples)

    def as_json(self) -> dict[str, Any]:
        """Return what was recognised: layout, counts and remarks, without the file names."""
        anomalous = sum(sample.anomalous for sample in self.samples)
        return {
            "layout": self.layout,
            "listed": self.listed,
            "normal": len(self.samples) - anomalous,
            "anomalous": anomalous,
            "types": {kind: sum(s.kind == kind for s in self.samples) for kind in self.types},
            "masked": self.masked,
            "left_out": len(self.left_out),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        counts, types = self.as_json(), "type" if len(self.types) == 1 else "types"
        text = (
            f"{self.title} layout: {counts['normal']} normal and {counts['anomalous']} anomalous "
            f"images ({len(self.types)} {types}), {self.masked} with masks"
        )
        return text + (f", {counts['left_out']} left out" if self.left_out else "")
