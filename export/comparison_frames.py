"""Make the frames that two artefacts are compared on: images with anomalous copies, or generated.

Generated frames serve where there are no images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.dataset import images_below, left_out_below, readable
from edge_ad.errors import DataError, naming
from edge_ad.files import check_folder
from edge_ad.frame import Image
from edge_ad.images import BitDepth, agreed_depth, current_depth, find_depth, reading
from edge_ad.manifest import Manifest
from edge_ad.preprocess import Preprocess
from edge_ad.synthesis.anomalies import random_anomaly


class ComparisonFrames(NamedTuple):
    """Frames uint8 (n, H, W, 3); those after the first `originals` have a synthetic anomaly.

    `left_out` are the files of the folder that cannot be read, with the reason.
    """

    images: Image
    originals: int
    left_out: Mapping[str, str] = MappingProxyType({})


def folder_frames(
    folder: Path, manifest: Manifest, limit: int, left_out: dict[str, str] | None = None
) -> Image:
    """Return uint8 (n, H, W, 3): images below `folder`, preprocessed as in a run.

    At most `limit` frames, evenly picked from the images and from their tiles; images that cannot
    be read are added to `left_out`. Raises DataError when there is no folder or no readable image
    in it.
    """
    check_folder(folder, "images")
    paths = images_below(folder)
    if not paths:
        raise DataError(f"{folder}: no images in it or below it.")
    picked = [paths[i] for i in _evenly(len(paths), limit)]
    preprocess = Preprocess(manifest.size_hw, manifest.geometry)
    frames = []
    with reading(_depth(manifest, paths)):
        for path, image in readable(picked, left_out):
            with naming(path):
                frames.append(preprocess(image))
    tiles = np.concatenate(frames)
    return tiles[_evenly(len(tiles), limit)]


def _evenly(count: int, most: int) -> NDArray[np.intp]:
    """Return the numbers of at most `most` of `count` things, both ends included."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.intp)


def _depth(manifest: Manifest, paths: Sequence[Path]) -> BitDepth:
    """Return the depth that the verb reads with, else that of the training or of the images."""
    trained = agreed_depth("the model", manifest.bit_depth, None)
    return current_depth() or trained or find_depth(paths)


def generated_frames(size_hw: tuple[int, int], count: int, *, seed: int = 0) -> Image:
    """Return uint8 (count, H, W, 3): a black and a white frame, then textures, half scratched.

    Black and white come first because normalisations may divide zero by zero there.
    """
    rng = np.random.default_rng(seed)
    flat = [np.full((*size_hw, 3), value, np.uint8) for value in (0, 255)]
    return np.stack([*flat, *(_texture(size_hw, rng) for _ in range(count - 2))][:count])


def comparison_frames(manifest: Manifest, folder: Path | None, limit: int) -> ComparisonFrames:
    """Return at most `limit` images from `folder` and an anomalous copy of each.

    Maps of normal parts are nearly zero everywhere, so only anomalies show a map's accuracy.
    Without a folder, return `limit` generated frames.
    """
    if folder is None:
        return ComparisonFrames(generated_frames(manifest.size_hw, limit), limit)
    unread: dict[str, str] = {}
    images = folder_frames(folder, manifest, limit, unread)
    rng = np.random.default_rng(0)
    anomalous = [random_anomaly(image, rng).anomalous for image in images]
    left_out = left_out_below(folder) | unread
    return ComparisonFrames(np.concatenate([images, np.stack(anomalous)]), len(images), left_out)


def describe_origin(folder: Path | None) -> str:
    """Return where `comparison_frames` takes its frames from, for a report."""
    return "generated" if folder is None else f"{folder}, and an anomalous copy of each"


def _texture(size_hw: tuple[int, int], rng: np.random.Generator) -> Image:
    """Draw noise of three wavelengths around a random colour, on half of them a dark scratch."""
    height, width = size_hw
    image = np.zeros((height, width, 3), np.float32) + rng.uniform(60, 200, 3)
    for cells, strength in ((4, 30), (16, 15), (64, 8)):
        coarse = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        ends = rng.integers(0, (width, height), (2, 2))
        cv2.line(image, ends[0].tolist(), ends[1].tolist(), (20, 20, 20), max(1, width // 64))
    return image.clip(0, 255).astype(np.uint8)
