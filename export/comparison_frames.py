"""The frames two artefacts are compared on: the user's images and damage, or generated ones."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edge_ad.dataset import readable
from edge_ad.errors import DataError
from edge_ad.frame import Image
from edge_ad.images import list_images
from edge_ad.manifest import Manifest
from edge_ad.preprocess import Preprocess
from edge_ad.synthesis.anomalies import random_anomaly


class Frames(NamedTuple):
    """Frames uint8 (n, H, W, 3). The first `given` are as they came, the others damaged copies."""

    images: Image
    given: int


def images(folder: Path, manifest: Manifest, limit: int) -> Image:
    """uint8 (n, H, W, 3): images below `folder`, evenly picked, cut as the line cuts its frames.

    At most `limit` images. Raises DataError when there is no folder or no readable image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Expected images there.")
    found = [path for place in _folders(folder) for path in list_images(place)]
    if not found:
        raise DataError(f"{folder}: holds no images.")
    picked = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, limit).astype(int))]
    cut = Preprocess(manifest.size_hw, manifest.geometry)
    return np.concatenate([cut(image) for _, image in readable(picked)])[:limit]


def generated(size_hw: tuple[int, int], count: int, *, seed: int = 0) -> Image:
    """uint8 (count, H, W, 3): a black, a white, then clouded textures with a scratch in each other.

    Black and white come first because they are where a normalisation divides nothing by nothing.
    """
    rng = np.random.default_rng(seed)
    flat = [np.full((*size_hw, 3), value, np.uint8) for value in (0, 255)]
    return np.stack([*flat, *(_texture(size_hw, rng) for _ in range(count - 2))][:count])


def frames_for(manifest: Manifest, folder: Path | None, limit: int) -> Frames:
    """At most `limit` images from `folder` and a damaged copy of each, or generated frames.

    On good parts alone a detector's map hardly leaves zero: what it is worth shows beside damage.
    """
    if folder is None:
        return Frames(generated(manifest.size_hw, limit), limit)
    found = images(folder, manifest, limit)
    rng = np.random.default_rng(0)
    damage = [random_anomaly(image, rng).anomalous for image in found]
    return Frames(np.concatenate([found, np.stack(damage)]), len(found))


def origin(folder: Path | None) -> str:
    """Where `frames_for` takes its frames from, in words for a report."""
    return "generated" if folder is None else f"{folder}, and a damaged copy of each"


def _folders(folder: Path) -> list[Path]:
    """The folder and those below it, by name, without masks (which are no frames)."""
    below = sorted(path for path in folder.rglob("*") if path.is_dir())
    return [folder, *(path for path in below if "ground_truth" not in path.parts)]


def _texture(size_hw: tuple[int, int], rng: np.random.Generator) -> Image:
    """Noise of three wavelengths around a random colour, and a dark scratch on half of them."""
    height, width = size_hw
    image = np.zeros((height, width, 3), np.float32) + rng.uniform(60, 200, 3)
    for cells, strength in ((4, 30), (16, 15), (64, 8)):
        coarse = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        ends = rng.integers(0, (width, height), (2, 2))
        cv2.line(image, ends[0].tolist(), ends[1].tolist(), (20, 20, 20), max(1, width // 64))
    return image.clip(0, 255).astype(np.uint8)
