"""Data set of the synthetic line in MVTec AD's layout, with exact masks.

python -m edge_ad.sample.dataset -o DIR --train 200 --normal 50 --per-kind 25 --seed 1
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from edge_ad.files import write_text
from edge_ad.images import write_image
from edge_ad.parts.listed import TABLE
from edge_ad.synthetic_line import KINDS, LabelledFrame, SyntheticLine, SyntheticLineSpec

_STEP = 7  # frames between two images: each plate is in about four of them
_IN_VIEW = 0.98  # share of a defect's largest visible area that counts as fully in view


def write_dataset(
    folder: Path, *, train: int, normal: int, per_kind: int, seed: int = 0, size_wh: tuple[int, int]
) -> None:
    """Write `train` and `normal` normal images and `per_kind` anomalous ones of each kind.

    Anomalous images have masks. Training, normal test and anomalous test images come from lines
    with different seeds, so they share no plate, light or belt. `parts.csv` has the plate nearest
    to the middle of each image.
    """
    lines = [
        SyntheticLineSpec(seed=seed * 1000 + part, size_wh=size_wh, defects=0.0) for part in (0, 1)
    ]
    parts = _write_normal(folder, "train/good", lines[0], train)
    parts |= _write_normal(folder, "test/good", lines[1], normal)
    for number, kind in enumerate(KINDS, start=2):
        spec = SyntheticLineSpec(seed * 1000 + number, size_wh, defects=1.0, kinds=(kind,))
        parts |= _write_kind(folder, kind, _best_frames(SyntheticLine(spec)), per_kind)
    rows = "".join(f"{image},{part}\n" for image, part in parts.items())
    write_text(folder / TABLE, f"image,part\n{rows}")


def _write_normal(root: Path, name: str, spec: SyntheticLineSpec, count: int) -> dict[str, str]:
    """Write normal images; return the plate of each, by path."""
    line, parts = SyntheticLine(spec), {}
    first = line.frames_until(1) // 2  # the first plate is in the middle of the view
    for number in range(count):
        index = first + number * _STEP
        image = f"{name}/{number:04d}.png"
        write_image(root / image, line.frame_at(index).image)
        parts[image] = f"{name} {_plate_at(line, index)}"
    return parts


def _plate_at(line: SyntheticLine, index: int) -> int:
    """Return the number of the plate nearest to the middle of a frame."""
    near = line.frame_at(index).parts
    return min(near, key=lambda plate: abs(sum(line.frames_of(plate)) / 2 - index))


def _write_kind(
    folder: Path, kind: str, frames: Iterator[LabelledFrame], count: int
) -> dict[str, str]:
    """Write anomalous images, each of another plate, and their masks; return the plates."""
    parts = {}
    for number, frame in zip(range(count), frames, strict=False):
        image = f"test/{kind}/{number:04d}.png"
        write_image(folder / image, frame.image)
        mask = frame.mask.astype(np.uint8) * 255
        write_image(folder / "ground_truth" / kind / f"{number:04d}_mask.png", mask)
        parts[image] = f"test/{kind} {number}"
    return parts


def _best_frames(line: SyntheticLine) -> Iterator[LabelledFrame]:
    """Yield for each plate the middle one of the frames in which its defect is fully in view."""
    part = 0
    while True:
        arrives, leaves = line.frames_of(part)
        frames = [line.frame_at(index) for index in range(arrives, leaves + 1, 2)]
        areas = [(frame, _area_of(frame, part)) for frame in frames]
        enough = _IN_VIEW * max(area for _, area in areas)
        whole = [frame for frame, area in areas if area and area >= enough]
        if whole:
            yield whole[len(whole) // 2]
        part += 1


def _area_of(frame: LabelledFrame, part: int) -> int:
    return sum(defect.area_px for defect in frame.defects if defect.part == part)


@click.command()
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--train", default=200, show_default=True, type=click.IntRange(1))
@click.option("--normal", default=50, show_default=True, type=click.IntRange(1))
@click.option("--per-kind", default=25, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--width", default=320, show_default=True, type=click.IntRange(64))
@click.option("--height", default=240, show_default=True, type=click.IntRange(48))
def main(  # one option, one argument
    output: Path, train: int, normal: int, per_kind: int, seed: int, width: int, height: int
) -> None:
    """Write a data set of the synthetic line in MVTec AD's layout."""
    size_wh = (width, height)
    write_dataset(output, train=train, normal=normal, per_kind=per_kind, seed=seed, size_wh=size_wh)


if __name__ == "__main__":
    main()
