"""Score anomalous images, labelled or synthetic, and count those that pass at a threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from edge_ad.calibration.thresholds.interval import clopper_pearson
from edge_ad.calibration.thresholds.scores import NormalScores
from edge_ad.dataset import Sample, images_below
from edge_ad.dataset.names import is_normal
from edge_ad.dataset.recognition import recognise, require
from edge_ad.dataset.truth import list_faults
from edge_ad.engine import Engine
from edge_ad.errors import DataError, GateFailed, naming
from edge_ad.files import check_folder
from edge_ad.frame import Image
from edge_ad.frame_gate import content_fault
from edge_ad.geometry import Geometry
from edge_ad.images import read_image
from edge_ad.manifest import Escapes, Threshold
from edge_ad.scoring import Scorer
from edge_ad.synthesis.anomalies import REDRAWS, SynthesisConfig, not_ignored, synthesize
from edge_ad.synthesis.blend import is_grey
from edge_ad.synthesis.perlin import Mask
from edge_ad.synthesis.textures import ProceduralTextures

MOST, FEWEST = 300, 30  # synthetic anomalies: 30 of 30 bound a share to 12 %, 300 to 1 %
_SIDE_PX = 512  # anomalies are drawn no finer than this: a network sees fewer pixels
_VISIBLE = 16  # grey levels: a change below this everywhere is drawn again, as no anomaly at all
_KINDS = {
    "structural": SynthesisConfig(structural_share=1, foreground=True, redraw_empty=True),
    "texture": SynthesisConfig(foreground=True, redraw_empty=True),
    "cut-paste": SynthesisConfig(cut_paste_share=1, foreground=True, redraw_empty=True),
}


@dataclass
class AnomalyScores:
    """Scores of anomalous images, by kind of anomaly; `left_out` maps images to the reason."""

    origin: Literal["labelled", "synthetic"]
    kinds: list[str] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    pixel: list[float] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, scorer: Scorer, image: Image) -> None:
        """Score one image."""
        score, values = scorer(image)
        self.kinds.append(kind)
        self.image.append(score)
        self.pixel.append(float(values.max()))

    def escapes(self, threshold: float) -> Escapes | None:
        """Return how many pass at a threshold, or None without an image."""
        passed = [score <= threshold for score in self.image]
        if not passed:
            return None
        low, high = clopper_pearson(sum(passed), len(passed))
        return Escapes(count=sum(passed), images=len(passed), low=low, high=high, kind=self.origin)

    def of_kind(self, kind: str) -> AnomalyScores:
        """Return the scores of one kind of anomaly."""
        chosen = [number for number, name in enumerate(self.kinds) if name == kind]
        image, pixel = ([column[one] for one in chosen] for column in (self.image, self.pixel))
        return AnomalyScores(self.origin, [kind] * len(chosen), image, pixel)


class SyntheticAnomalies:
    """Draws synthetic anomalies on normal images and scores them: call it with each image.

    Every `stride`-th image gets one, at most `MOST` in all; `finish` adds more to the first images
    until there are `FEWEST`. Anomalies lie on the part, inside the inspected area, and are the same
    for the same images.
    """

    def __init__(self, engine: Engine, geometry: Geometry, images: int | None = None) -> None:
        self.scores = AnomalyScores("synthetic")
        self._scorer, self._geometry = Scorer(engine, geometry), geometry
        self._stride = -(-images // MOST) if images else 1
        self._offered = 0
        self._first: list[tuple[str, Image]] = []

    def __call__(self, name: str, image: Image) -> None:
        if len(self._first) < FEWEST:
            self._first.append((name, image))
        if self._offered % self._stride == 0 and len(self.scores.image) < MOST:
            self._add(image)
        self._offered += 1

    def finish(self) -> AnomalyScores:
        """Return the scores, of at least `FEWEST` anomalies."""
        for number in range(FEWEST - len(self.scores.image)):
            self._add(self._first[number % len(self._first)][1])
        return self.scores

    def _add(self, image: Image) -> None:
        number = len(self.scores.image)
        kind = list(_KINDS)[number % len(_KINDS)]
        self.scores.add(kind, self._scorer, self._draw(image, kind, np.random.default_rng(number)))

    def _draw(self, image: Image, kind: str, rng: np.random.Generator) -> Image:
        """Return a copy of the image with an anomaly in the inspected area."""
        height, width = image.shape[:2]
        x, y, width, height = self._geometry.roi_xywh or (0, 0, width, height)
        part = image[y : y + height, x : x + width]
        inspected = not_ignored(self._geometry, (x, y), (height, width))
        for _ in range(REDRAWS):
            drawn, mask = _draw_anomaly(part, kind, rng)
            mask &= inspected
            box = _box_of(mask)
            if _is_visible(drawn[box], part[box], mask[box]):
                break
        result = image.copy()
        np.copyto(
            result[y : y + height, x : x + width][box], drawn[box], where=mask[box][..., None]
        )
        return np.asarray(result, np.uint8)


def _draw_anomaly(part: Image, kind: str, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Return an anomalous copy of a part and the mask, both of its size."""
    height, width = part.shape[:2]
    shrink = min(1.0, _SIDE_PX / max(width, height))
    size_wh = (max(8, round(width * shrink)), max(8, round(height * shrink)))
    small = np.asarray(cv2.resize(part, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    textures = ProceduralTextures((size_wh[1], size_wh[0]))
    sample = synthesize(small, textures, _KINDS[kind], rng, grey=is_grey(small[None]))
    drawn = np.asarray(cv2.resize(sample.anomalous, (width, height)), np.uint8)
    return drawn, cv2.resize(sample.mask.astype(np.uint8), (width, height)) > 0


def _box_of(mask: Mask) -> tuple[slice, slice]:
    """Return the rows and columns around what a mask marks: a large frame has little of it."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _is_visible(drawn: Image, part: Image, mask: Mask) -> bool:
    if not mask.size:
        return False
    return bool((cv2.absdiff(drawn, part).max(axis=2) >= _VISIBLE)[mask].any())


def anomalous_samples(folder: Path, normal: Iterable[Path] = ()) -> list[Sample]:
    """List the anomalous images of a data set, or of a folder and those below it.

    Folders below name the kinds; folders of normal images and of masks are left out. Raises
    DataError when there is none, or when one is among the `normal` images.
    """
    check_folder(folder, "anomalous images")
    samples = _labelled(folder) if recognise(folder) else _below(folder)
    if not samples:
        raise DataError(f"{folder}: no anomalous image in it. Give a folder that has some.")
    known = {path.resolve() for path in normal}
    if both := [sample.path for sample in samples if sample.path.resolve() in known]:
        raise DataError(
            f"{both[0]}: given as normal by --images and as anomalous by --anomalies, like "
            f"{len(both)} of {len(samples)} images. Give each image once."
        )
    return samples


def _labelled(folder: Path) -> list[Sample]:
    layout = require(folder)
    listing = layout.read(folder)
    if listing.masks_decide and listing.faults:
        raise DataError(
            f"{folder}: only masks say which image is anomalous, and {len(listing.faults)} files "
            f"do not pair. {list_faults(listing.faults)}."
        )
    samples = [sample for sample in listing.samples if sample.anomalous]
    if not samples and listing.left_out:
        raise DataError(
            f"{folder}: no anomalous image in it. It is read as a data set ({layout.title}), whose "
            f"layout has no place for {len(listing.left_out)} images, like {listing.left_out[0]}. "
            "Give a folder of the anomalous ones alone."
        )
    return samples


def _below(folder: Path) -> list[Sample]:
    samples = []
    for path in images_below(folder):
        kinds = path.parent.relative_to(folder).parts
        if not any(map(is_normal, kinds)):
            samples.append(Sample(path, "/".join(kinds) or "anomalous"))
    return samples


def score_labelled(engine: Engine, samples: Iterable[Sample], geometry: Geometry) -> AnomalyScores:
    """Score labelled anomalous images. Raises DataError when none can be judged."""
    scores, scorer = AnomalyScores("labelled"), Scorer(engine, geometry)
    for sample in samples:
        try:
            image = read_image(sample.path)
        except DataError as error:
            scores.left_out[str(sample.path)] = str(error)
            continue
        if fault := content_fault(image):
            scores.left_out[str(sample.path)] = f"{sample.path}: {fault}"
            continue
        with naming(sample.path):
            scores.add(sample.kind, scorer, image)
    if not scores.image:
        first = next(iter(scores.left_out.values()), "there is none")
        raise DataError(f"no anomalous image can be judged. The first: {first}")
    return scores


def check_escapes(
    threshold: Threshold, anomalies: AnomalyScores, scores: NormalScores
) -> Threshold:
    """Return the threshold with the escapes it costs.

    Raises GateFailed when no anomaly exceeds it, for images or for maps, and names the normal
    images that led to it.
    """
    for unit, limit, values, highest, result in (
        ("image", threshold.image, anomalies.image, scores.highest(), "reject nothing"),
        ("pixel", threshold.pixel, anomalies.pixel, scores.highest_maps(), "outline nothing"),
    ):
        if max(values) > limit:
            continue
        names = ", ".join(f"{name} {score:.4g}" for name, score in highest)
        raise GateFailed(
            f"none of {len(values)} {anomalies.origin} anomalies exceeds the {unit} threshold "
            f"{limit:g}; the highest has {max(values):g}. The line would {result}, so nothing is "
            f"stored. Check that the normal images with the highest values show good parts: "
            f"{names}. If they do, allow more false alarms, or train again.",
            {"threshold": threshold.image, "escapes": describe_escapes(threshold, anomalies)},
        )
    return threshold.replace(escapes=anomalies.escapes(threshold.image))


def describe_escapes(threshold: Threshold, anomalies: AnomalyScores) -> dict[str, Any]:
    """Return count, images, share and interval of the escapes, in all and for each kind."""
    result: dict[str, Any] = _as_json(anomalies.escapes(threshold.image))
    kinds = sorted(set(anomalies.kinds))
    result["kinds"] = {
        kind: _as_json(anomalies.of_kind(kind).escapes(threshold.image)) for kind in kinds
    }
    for each in result["kinds"].values():
        del each["kind"]
    return result


def _as_json(escapes: Escapes | None) -> dict[str, Any]:
    assert escapes is not None, "there is at least one anomaly"
    return escapes.to_dict() | {"share": escapes.count / escapes.images, "confidence": 0.95}
