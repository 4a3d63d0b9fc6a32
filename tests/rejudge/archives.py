"""Seven small images in an archive, and `edge-ad rejudge` on it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import pyarrow.parquet as pq

from edge_ad.rejudge.session import RejudgeConfig, RejudgeSession
from tests.conftest import CompletedProcess, invoke, part_image

IMAGES = 7


def write_archive(folder: Path) -> Path:
    """Write seven images in two folders, two of them with a spot, and files that are not images."""
    for index in range(IMAGES):
        day = folder / ("monday" if index < 4 else "tuesday")
        day.mkdir(parents=True, exist_ok=True)
        image = part_image(spot=index in (2, 5), seed=index, hw=(64, 64 + 8 * index))
        assert cv2.imwrite(str(day / f"{index}.png"), image)
    (folder / "notes.md").write_text("no image")
    return folder


def rejudge(engine: Path, images: Path, output: Path, *more: object) -> CompletedProcess:
    return invoke("rejudge", "--engine", engine, "--images", images, "-o", output,
                  "--threads", 1, *more)  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())


def run_session(
    config: RejudgeConfig, stop: threading.Event | None = None
) -> dict[str, Any] | None:
    return RejudgeSession(config, lambda _: None, stop or threading.Event()).run()
