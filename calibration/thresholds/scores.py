"""Score images of normal parts, and reduce them to one score for each part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_ad.dedup import Deduplicator
from edge_ad.engine import Engine
from edge_ad.errors import DataError, naming
from edge_ad.frame import Frame, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.frame_light import FrameLight, has_colour, light_of
from edge_ad.geometry import Geometry
from edge_ad.manifest import ImageReference
from edge_ad.scoring import Scorer

By = Literal["part", "image"]
PartOf = Callable[[str], str]
OnImage = Callable[[str, Image], None]
Scores = NDArray[np.float64]
SEED = 0  # of the image drawn from each part: the same images give the same threshold


@dataclass
class NormalScores:
    """Scores of normal images, one entry for each distinct image.

    `image` holds image scores, `pixel` the maps' maxima, `parts` the name of each image's part;
    without names every image is a part. `repeats` pairs a near-duplicate with the image it repeats:
    the two are not independent, so they count once, with the higher score. `left_out` maps images
    that the line would call INVALID to the reason. `geometry` is the one they were scored with,
    `light` that of each distinct image, `size_hw` the first image's size; `colour`: all have some.
    """

    names: list[str] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    pixel: list[float] = field(default_factory=list)
    repeats: list[tuple[str, str]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    geometry: Geometry = field(default_factory=Geometry)
    parts: list[str] = field(default_factory=list)
    light: list[FrameLight] = field(default_factory=list)
    size_hw: tuple[int, int] = (0, 0)
    colour: bool = True

    def add(
        self, name: str, score: float, peak: float, duplicate_of: int | None, part: str = ""
    ) -> None:
        """Add an image; `duplicate_of` is the number of the distinct image it repeats, if any."""
        if duplicate_of is None:
            self.parts.append(part or name)
            self.names.append(name)
            self.image.append(score)
            self.pixel.append(peak)
            return
        self.repeats.append((name, self.names[duplicate_of]))
        self.image[duplicate_of] = max(self.image[duplicate_of], score)
        self.pixel[duplicate_of] = max(self.pixel[duplicate_of], peak)

    def highest(self) -> list[tuple[str, float]]:
        """Return the three highest-scoring images: to check when a threshold seems too high."""
        return _highest(self.names, self.image)

    def highest_maps(self) -> list[tuple[str, float]]:
        """Return the three images with the highest map values."""
        return _highest(self.names, self.pixel)

    def by(self, unit: By = "part") -> PartScores:
        """Return one score a part: the highest, or that of one image drawn from each.

        The drawn images are independent, since the parts are, and each is like any image of a
        part; the draw does not look at scores.
        """
        if not self.parts:  # each image is a part
            image, pixel = (np.array(one, np.float64) for one in (self.image, self.pixel))
            return PartScores(unit, image, pixel, len(self.names))
        numbers = self._members()
        if unit == "part":
            chosen = [max(group, key=self.image.__getitem__) for group in numbers]
            peaks = [max(self.pixel[one] for one in group) for group in numbers]
        else:
            chosen = draw_of_each(numbers)
            peaks = [self.pixel[one] for one in chosen]
        image = np.array([self.image[one] for one in chosen], np.float64)
        return PartScores(unit, image, np.array(peaks, np.float64), len(self.names))

    def reference(self) -> ImageReference | None:
        """Return what one image of each part looks like; None where light was not measured."""
        if not self.light:
            return None
        chosen = draw_of_each(self._members())
        light = np.array([self.light[one] for one in chosen])
        return ImageReference(
            size_hw=self.size_hw,
            count=len(chosen),
            brightness=_quantiles(light[:, 0]),
            sharpness=_quantiles(light[:, 1]),
            score=_quantiles(np.array([self.image[one] for one in chosen])),
            colour=self.colour,
        )

    def brightness_by_part(self) -> Scores:
        """Return the brightness of each part's first image (n,); empty where not measured."""
        groups = self._members() if self.light else []
        return np.array([self.light[group[0]].brightness for group in groups], np.float64)

    def _members(self) -> list[list[int]]:
        """Return the numbers of each part's images, parts in the order of their first image."""
        groups: dict[str, list[int]] = {}
        for number, part in enumerate(self.parts or map(str, range(len(self.names)))):
            groups.setdefault(part, []).append(number)
        return list(groups.values())


@dataclass(frozen=True)
class PartScores:
    """One score for each part, float64 (parts,); they came from `images` distinct images."""

    unit: By
    image: Scores
    pixel: Scores
    images: int

    def __len__(self) -> int:
        return len(self.image)

    @property
    def distinct(self) -> int:
        """Number of different image scores: fewer than parts when scores are coarse or clamped."""
        return len(np.unique(self.image))


def score_normal(
    engine: Engine,
    images: Iterable[tuple[str, Image]],
    geometry: Geometry | None = None,
    *,
    part_of: PartOf = str,
    on_image: OnImage | None = None,
) -> NormalScores:
    """Score named normal images as on the line. Raises DataError when none can be judged.

    `part_of` returns the part that a named image shows, by default another for each. `on_image` is
    called with every image that was scored, near-duplicates excepted.
    """
    geometry = geometry or engine.manifest.geometry
    scorer, deduplicator = Scorer(engine, geometry), Deduplicator(geometry)
    scores, gate = NormalScores(geometry=geometry), FrameGate(live=False)
    for name, image in images:
        if fault := gate.fault(Frame(image, 0, 0.0, "", name)):
            scores.left_out[name] = fault
            continue
        with naming(name):
            score, values = scorer(image)
        duplicate_of = deduplicator.repeats(image)
        scores.add(name, score, float(values.max()), duplicate_of, part_of(name))
        if duplicate_of is not None:
            continue
        scores.size_hw = scores.size_hw if scores.light else (image.shape[0], image.shape[1])
        scores.light.append(light_of(image))
        scores.colour = scores.colour and has_colour(image)
        if on_image is not None:
            on_image(name, image)
    if not scores.names:
        raise DataError(
            f"no normal image to set a threshold from{_first_reason(scores.left_out)}. "
            "Give images of good parts that the camera took in normal light."
        )
    return scores


def draw_of_each(groups: Sequence[Sequence[int]]) -> list[int]:
    """Return one member of each group, drawn by a fixed seed."""
    rng = np.random.default_rng(SEED)
    return [group[int(rng.integers(len(group)))] for group in groups]


def _quantiles(values: Scores) -> tuple[float, ...]:
    """Return 21 quantiles of values (n,), from the least to the greatest, to six digits."""
    return tuple(float(f"{q:.6g}") for q in np.quantile(values, np.linspace(0, 1, 21)))


def _highest(names: list[str], values: list[float]) -> list[tuple[str, float]]:
    return sorted(zip(names, values, strict=True), key=lambda item: -item[1])[:3]


def _first_reason(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    name, reason = next(iter(left_out.items()))
    return f": the line would judge none of the {len(left_out)}, like {name}, which is {reason}"
