"""Videos of the synthetic line, with the ground truth of every frame beside them.

    python -m edge_ad.sample.footage -o footage.mp4              the shipped footage
    python -m edge_ad.sample.footage -o normal.mp4 --normal --seed 9 --frames 400

`footage.mp4.yaml` lists each anomalous plate and, per frame, each defect in view with its box.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import yaml

from edge_ad.errors import OutletLost
from edge_ad.files import replacing, write_text
from edge_ad.frame import Image
from edge_ad.synthetic_line import Defect, DefectInstance, SyntheticLine, SyntheticLineSpec

FPS = 25.0
CODEC = "mp4v"  # the one codec that every OpenCV wheel can write and read
SEED = 20417
_NORMAL = None
PLAN = (  # kind, size and contrast of the shipped footage's plates, one after another
    _NORMAL,
    _NORMAL,
    Defect("scratch", 0.9, 0.8),
    _NORMAL,
    Defect("dent", 0.7, 0.7),
    _NORMAL,
    Defect("stain", 0.7, 0.6),
    _NORMAL,
    Defect("missing_print", 0.9, 1.0),
    _NORMAL,
    _NORMAL,
    Defect("scratch", 0.8, 1.0),
    _NORMAL,
    Defect("dent", 0.4, 0.6),
    _NORMAL,
    Defect("missing_print", 0.5, 0.8),
    _NORMAL,
    Defect("stain", 0.3, 0.5),
    _NORMAL,
    _NORMAL,
    Defect("dent", 0.9, 0.3),
    _NORMAL,
    Defect("scratch", 0.45, 1.0),
    _NORMAL,
    Defect("stain", 0.9, 0.3),
    _NORMAL,
    Defect("missing_print", 0.6, 1.0),
    _NORMAL,
)


def shipped_line() -> SyntheticLine:
    """Return the line of the shipped footage."""
    return SyntheticLine(SyntheticLineSpec(seed=SEED, plan=PLAN))


def record(line: SyntheticLine, frames: int, path: Path) -> None:
    """Write frames 0 to `frames` - 1 as a video, and the ground truth to `path`.yaml."""
    defects: list[tuple[DefectInstance, ...]] = []
    write_video(path, _images(line, frames, defects))
    text = yaml.safe_dump(truth(line, defects), sort_keys=False, default_flow_style=None, width=100)
    write_text(path.with_name(path.name + ".yaml"), text)


def write_video(path: Path, images: Iterable[Image]) -> None:
    """Encode images of one size; raises OutletLost when this OpenCV has no such encoder."""
    with replacing(path) as temporary, contextlib.closing(_Encoder(temporary)) as encoder:
        for image in images:
            encoder.write(image)


def truth(line: SyntheticLine, defects: Sequence[tuple[DefectInstance, ...]]) -> dict[str, Any]:
    """Return the ground truth: the defects of the line, and per frame those in view."""
    parts = sorted({defect.part for frame in defects for defect in frame})
    return {
        "seed": line.spec.seed,
        "frames": len(defects),
        "defects": [_defect_entry(line, part) for part in parts],
        "visible": {
            index: [_visible_entry(defect) for defect in frame]
            for index, frame in enumerate(defects)
            if frame
        },
    }


def _images(
    line: SyntheticLine, frames: int, defects: list[tuple[DefectInstance, ...]]
) -> Iterator[Image]:
    """Yield the images one by one and append the defects in view of each to `defects`."""
    for index in range(frames):
        frame = line.frame_at(index)
        defects.append(frame.defects)
        yield frame.image


class _Encoder:
    """Video writer that opens its file with the first image, whose size it takes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: cv2.VideoWriter | None = None

    def write(self, image: Image) -> None:
        if self._writer is None:
            size = (image.shape[1], image.shape[0])
            code = cv2.VideoWriter.fourcc(*CODEC)
            self._writer = cv2.VideoWriter(str(self._path), code, FPS, size)
            if not self._writer.isOpened():
                raise OutletLost(
                    f"{self._path}: this OpenCV has no {CODEC} encoder. Install "
                    "opencv-python-headless from PyPI."
                )
        self._writer.write(image)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


def _defect_entry(line: SyntheticLine, part: int) -> dict[str, Any]:
    defect = line.defect_of(part)
    assert defect is not None
    return {
        "part": part,
        "kind": defect.kind,
        "size": round(defect.size, 3),
        "contrast": round(defect.contrast, 3),
    }


def _visible_entry(defect: DefectInstance) -> dict[str, Any]:
    return {"part": defect.part, "box_xywh": list(defect.box_xywh), "area_px": defect.area_px}


@click.command()
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="An .mp4.")
@click.option("--seed", type=int, help="Record the line with this seed instead of the shipped one.")
@click.option(
    "--frames", type=click.IntRange(1), help="Default: until the last plate of the plan has left."
)
@click.option("--normal", is_flag=True, help="Normal plates only.")
def main(output: Path, *, seed: int | None, frames: int | None, normal: bool) -> None:
    """Record a video of the synthetic line."""
    spec = SyntheticLineSpec(seed=SEED if seed is None else seed, defects=0.0 if normal else 0.3)
    line = shipped_line() if seed is None and not normal else SyntheticLine(spec)
    record(line, frames or line.frames_until(len(PLAN)), output)


if __name__ == "__main__":
    main()
