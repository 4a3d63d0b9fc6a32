"""Textures for synthetic anomalies: a folder of photos, or a procedural generator."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.files import check_folder
from edge_ad.frame import Image
from edge_ad.images import SUFFIXES, read_image

CACHE_BYTES = 512 << 20


class Textures(Protocol):
    """Draws textures of one size."""

    name: str

    def draw(self, rng: np.random.Generator) -> Image:
        """Return a texture, uint8 (H, W, 3) BGR."""


class TextureFolder:
    """Images in a folder and its subfolders, drawn uniformly and resized to `size_hw`.

    Raises DataError when there is no folder, no image, or ten in a row cannot be read.
    """

    def __init__(self, folder: Path, size_hw: tuple[int, int]) -> None:
        self.name = str(folder)
        self._size_hw = size_hw
        self._paths = _list_images(folder)
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._cache_size = max(1, CACHE_BYTES // (size_hw[0] * size_hw[1] * 3))
        self._lock = Lock()

    def draw(self, rng: np.random.Generator) -> Image:
        for _ in range(10):
            index = int(rng.integers(len(self._paths)))
            try:
                return self._load(index)
            except DataError as error:
                last = error
        raise DataError(
            f"{self.name}: ten textures in a row cannot be read. Replace the broken files. "
            f"The last: {last}"
        )

    def _load(self, index: int) -> Image:
        with self._lock:
            if index in self._cache:
                return self._cache[index]
        height, width = self._size_hw
        image = read_image(self._paths[index], 8)
        texture = np.asarray(cv2.resize(image, (width, height)), np.uint8)
        with self._lock:
            self._cache[index] = texture
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return texture


class ProceduralTextures:
    """Noise in octaves, stripes, checkers, blotches and cracks in random colours."""

    name = "procedural"

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self._size_hw = size_hw

    def draw(self, rng: np.random.Generator) -> Image:
        pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))](self._size_hw, rng)
        grain = octaves(self._size_hw, rng, first=int(rng.integers(8, 33))) - 0.5
        blend = np.clip(pattern + rng.uniform(0, 0.5) * grain, 0, 1)[..., None]
        first, second = rng.uniform(0, 255, (2, 3))
        return np.asarray(first * (1 - blend) + second * blend, np.uint8)


def octaves(size_hw: tuple[int, int], rng: np.random.Generator, first: int = 3) -> NDArray:  # type: ignore[type-arg]
    """Draw value noise float32 (H, W), 0..1; each octave is twice as fine, 0.6 as strong."""
    height, width = size_hw
    total = np.zeros(size_hw, np.float32)
    cells, strength = first, 1.0
    while cells <= max(size_hw):
        grid = rng.random((cells, cells), np.float32)
        total += strength * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        cells, strength = cells * 2, strength * 0.6
    return cv2.normalize(total, np.empty_like(total), 0, 1, cv2.NORM_MINMAX)


def _blotches(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray:  # type: ignore[type-arg]
    noise = octaves(size_hw, rng, first=int(rng.integers(2, 9)))
    return np.asarray(np.clip((noise - rng.uniform(0.3, 0.7)) * rng.uniform(2, 12) + 0.5, 0, 1))


def _stripes(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray:  # type: ignore[type-arg]
    wave = np.sin(_ramp(size_hw, rng) + rng.uniform(0, 3) * octaves(size_hw, rng))
    return np.asarray(np.clip(wave * rng.uniform(0.5, 4) / 2 + 0.5, 0, 1))


def _checkers(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray:  # type: ignore[type-arg]
    bend = rng.uniform(0, 2) * octaves(size_hw, rng)
    product = np.sin(_ramp(size_hw, rng) + bend) * np.sin(_ramp(size_hw, rng) + bend)
    return np.asarray(np.clip(product * rng.uniform(1, 8) + 0.5, 0, 1))


def _cracks(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray:  # type: ignore[type-arg]
    """Draw thin dark veins where two noises are equal."""
    first = int(rng.integers(2, 7))
    gap = np.abs(octaves(size_hw, rng, first) - octaves(size_hw, rng, first))
    return np.asarray(np.clip(gap * rng.uniform(6, 40), 0, 1))


def _ramp(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray:  # type: ignore[type-arg]
    """Return a phase that rises in a random direction, 1 to 20 periods across the image."""
    angle, periods = rng.uniform(0, np.pi), rng.uniform(1, 20)
    y, x = np.mgrid[0 : size_hw[0], 0 : size_hw[1]].astype(np.float32) / max(size_hw)
    return np.asarray(2 * np.pi * periods * (x * np.cos(angle) + y * np.sin(angle)))


_PATTERNS = (octaves, _blotches, _stripes, _checkers, _cracks)


def _list_images(folder: Path) -> list[Path]:
    check_folder(folder, "texture images in it or in its subfolders")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise DataError(
            f"{folder}: no images in it or in its subfolders. Add some, or omit --textures to use "
            "procedural textures."
        )
    return paths
