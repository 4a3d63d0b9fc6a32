"""Films of the synthetic line, with the truth about every frame beside them.

    python -m edge_ad.sample.footage -o footage.mp4              the shipped footage
    python -m edge_ad.sample.footage -o good.mp4 --good --seed 9 --frames 400

`footage.mp4.yaml` lists each damaged plate and, per frame, each defect in view with its box.
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
CODEC = "mp4v"  # the one encoder that every build of OpenCV's wheels writes and reads
SEED = 20417
_GOOD = None
PLAN = (  # kind, size and contrast of the shipped footage's plates, one after another
    _GOOD,
    _GOOD,
    Defect("scratch", 0.9, 0.8),
    _GOOD,
    Defect("dent", 0.7, 0.7),
    _GOOD,
    Defect("stain", 0.7, 0.6),
    _GOOD,
    Defect("missing_print", 0.9, 1.0),
    _GOOD,
    _GOOD,
    Defect("scratch", 0.8, 1.0),
    _GOOD,
    Defect("dent", 0.4, 0.6),
    _GOOD,
    Defect("missing_print", 0.5, 0.8),
    _GOOD,
    Defect("stain", 0.3, 0.5),
    _GOOD,
    _GOOD,
    Defect("dent", 0.9, 0.3),
    _GOOD,
    Defect("scratch", 0.45, 1.0),
    _GOOD,
    Defect("stain", 0.9, 0.3),
    _GOOD,
    Defect("missing_print", 0.6, 1.0),
    _GOOD,
)


def shipped_line() -> SyntheticLine:
    """The line of the shipped footage."""
    return SyntheticLine(SyntheticLineSpec(seed=SEED, plan=PLAN))


def film(line: SyntheticLine, frames: int, path: Path) -> None:
    """Write frames 0 to `frames` - 1 as a video, and the truth to `path`.yaml."""
    plants: list[tuple[DefectInstance, ...]] = []
    write_video(path, _images(line, frames, plants))
    text = yaml.safe_dump(truth(line, plants), sort_keys=False, default_flow_style=None, width=100)
    write_text(path.with_name(path.name + ".yaml"), text)


def write_video(path: Path, images: Iterable[Image], fps: float = FPS) -> None:
    """Encode images of one size; raises SinkLost when this OpenCV has no such encoder."""
    with replacing(path) as temporary, contextlib.closing(_Encoder(temporary, fps)) as encoder:
        for image in images:
            encoder.write(image)


def truth(line: SyntheticLine, plants: Sequence[tuple[DefectInstance, ...]]) -> dict[str, Any]:
    """What is planted, and frame by frame where it shows; boxes are x, y, width, height."""
    planted = sorted({plant.part for frame in plants for plant in frame})
    return {
        "seed": line.spec.seed,
        "frames": len(plants),
        "defects": [_planted(line, part) for part in planted],
        "visible": {
            index: [_visible(plant) for plant in frame]
            for index, frame in enumerate(plants)
            if frame
        },
    }


def _images(
    line: SyntheticLine, frames: int, plants: list[tuple[DefectInstance, ...]]
) -> Iterator[Image]:
    """The images one by one; what is planted in each is noted on the way."""
    for index in range(frames):
        shot = line.shot(index)
        plants.append(shot.plants)
        yield shot.image


class _Encoder:
    """A video file that opens with the first image, whose size it takes."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None

    def write(self, image: Image) -> None:
        if self._writer is None:
            size = (image.shape[1], image.shape[0])
            code = cv2.VideoWriter.fourcc(*CODEC)
            self._writer = cv2.VideoWriter(str(self._path), code, self._fps, size)
            if not self._writer.isOpened():
                raise OutletLost(f"{self._path}: this OpenCV has no {CODEC} encoder.")
        self._writer.write(image)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


def _planted(line: SyntheticLine, part: int) -> dict[str, Any]:
    defect = line.defect_of(part)
    assert defect is not None
    return {
        "part": part,
        "kind": defect.kind,
        "size": round(defect.size, 3),
        "contrast": round(defect.contrast, 3),
    }


def _visible(plant: DefectInstance) -> dict[str, Any]:
    return {"part": plant.part, "box": list(plant.box_xywh), "area": plant.area_px}


@click.command()
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="An .mp4.")
@click.option("--seed", type=int, help="Another line than the shipped footage's.")
@click.option("--frames", type=click.IntRange(1), help="Until the last planned plate has left.")
@click.option("--good", is_flag=True, help="Good plates only.")
def main(output: Path, *, seed: int | None, frames: int | None, good: bool) -> None:
    """Film the synthetic line."""
    spec = SyntheticLineSpec(seed=SEED if seed is None else seed, defects=0.0 if good else 0.3)
    line = shipped_line() if seed is None and not good else SyntheticLine(spec)
    film(line, frames or line.frames_until(len(PLAN)), output)


if __name__ == "__main__":
    main()
