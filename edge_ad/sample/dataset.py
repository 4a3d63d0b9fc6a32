"""A data set of the synthetic line in MVTec AD's layout, with exact masks.

python -m edge_ad.sample.dataset -o DIR --train 200 --good 50 --each 25 --seed 1
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from edge_ad.images import write_image
from edge_ad.synthetic_line import KINDS, LabelledFrame, SyntheticLine, SyntheticLineSpec

_STEP = 7  # frames between two images: a plate is imaged about four times on its way
_IN_VIEW = 0.98  # share of a defect's largest visible area that makes it wholly in view


def write_dataset(
    folder: Path, *, train: int, good: int, each: int, seed: int = 0, size_wh: tuple[int, int]
) -> None:
    """Write `train` and `good` normal images, and `each` of every kind of defect with its mask.

    Training, normal test and anomalous test images come from different lines: no plate, no light
    and no belt is in two of them.
    """
    normal = [
        SyntheticLineSpec(seed=seed * 1000 + part, size_wh=size_wh, defects=0.0) for part in (0, 1)
    ]
    _write_good(folder / "train" / "good", normal[0], train)
    _write_good(folder / "test" / "good", normal[1], good)
    for number, kind in enumerate(KINDS, start=2):
        spec = SyntheticLineSpec(seed * 1000 + number, size_wh, defects=1.0, kinds=(kind,))
        _write_kind(folder, kind, _best_views(SyntheticLine(spec)), each)


def _write_good(folder: Path, spec: SyntheticLineSpec, count: int) -> None:
    line = SyntheticLine(spec)
    first = line.frames_until(1) // 2  # the first plate is in the middle of the view
    for number in range(count):
        shot = line.shot(first + number * _STEP)
        write_image(folder / f"{number:04d}.png", shot.image)


def _write_kind(folder: Path, kind: str, shots: Iterator[LabelledFrame], count: int) -> None:
    for number, shot in zip(range(count), shots, strict=False):
        write_image(folder / "test" / kind / f"{number:04d}.png", shot.image)
        mask = shot.mask.astype(np.uint8) * 255
        write_image(folder / "ground_truth" / kind / f"{number:04d}_mask.png", mask)


def _best_views(line: SyntheticLine) -> Iterator[LabelledFrame]:
    """For each plate in turn, the frame in which most of its defect shows, nearest the middle."""
    part = 0
    while True:
        arrives, leaves = line.frames_of(part)
        shots = [line.shot(index) for index in range(arrives, leaves + 1, 2)]
        views = [(shot, _area_of(shot, part)) for shot in shots]
        enough = _IN_VIEW * max(area for _, area in views)
        whole = [shot for shot, area in views if area and area >= enough]
        if whole:
            yield whole[len(whole) // 2]
        part += 1


def _area_of(shot: LabelledFrame, part: int) -> int:
    return sum(plant.area_px for plant in shot.plants if plant.part == part)


@click.command()
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--train", default=200, show_default=True, type=click.IntRange(1))
@click.option("--good", default=50, show_default=True, type=click.IntRange(1))
@click.option("--each", default=25, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--width", default=320, show_default=True, type=click.IntRange(64))
@click.option("--height", default=240, show_default=True, type=click.IntRange(48))
def main(  # one option, one argument
    output: Path, train: int, good: int, each: int, seed: int, width: int, height: int
) -> None:
    """Write a data set of the synthetic line in MVTec AD's layout."""
    size_wh = (width, height)
    write_dataset(output, train=train, good=good, each=each, seed=seed, size_wh=size_wh)


if __name__ == "__main__":
    main()
