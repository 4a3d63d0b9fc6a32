"""What several rooms' tests need: a tiny engine that is real ONNX, and images for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.files import sha256
from edge_ad.manifest import Sidecar, Threshold, save_sidecar

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and weights; a test that needs it skips without it."""
    folder = Path(os.environ.get("EDGE_AD_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real images at {folder} (set EDGE_AD_SHARED)")
    return folder


MakeEngine = Callable[..., Path]


@pytest.fixture
def make_engine(tmp_path: Path) -> MakeEngine:
    """Copies an engine whose map is the green channel over 255 and whose score is its maximum.

    They are real ONNX files, made by `engines/make_green.py`. A threshold of 0.5 is stored beside
    the copy unless `threshold` is None.
    """

    def make(
        name: str = "green.onnx",
        *,
        side: int = 32,
        batch: int | None = 1,
        threshold: float | None = 0.5,
    ) -> Path:
        path = tmp_path / name
        shutil.copy(ROOT / "tests" / "engines" / engine_name(side, batch), path)
        if threshold is not None:
            store_threshold(path, threshold)
        return path

    return make


def engine_name(side: int, batch: int | None) -> str:
    return f"green-{side}-b{batch or 'any'}.onnx"


def store_threshold(engine: Path, value: float) -> None:
    """Write a sidecar with `value` as image and pixel threshold."""
    threshold = Threshold(
        image=value, pixel=value, false_alarm_rate=0.01, confidence=0.95, images=300
    )
    save_sidecar(engine, Sidecar(engine_sha256=sha256(engine), threshold=threshold))


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of grey images; `bright` names those with a bright spot (an anomaly)."""

    def make(name: str, count: int, bright: tuple[int, ...] = ()) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for index in range(count):
            cv2.imwrite(
                str(folder / f"{index:03d}.png"), part_image(spot=index in bright, seed=index)
            )
        return folder

    return make


def part_image(
    *, spot: bool = False, seed: int = 0, hw: tuple[int, int] = (64, 64)
) -> NDArray[np.uint8]:
    """A dim noisy image uint8 (h, w, 3); `spot` adds a bright 12 x 12 square at x = 20, y = 8."""
    noise = np.random.default_rng(seed).integers(20, 60, (*hw, 3))
    if spot:
        noise[8:20, 20:32] = 250
    return noise.astype(np.uint8)
