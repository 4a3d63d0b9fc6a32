"""Measure how well parts are found from images and names, and what it takes.

    EDGE_AD_SHARED=... python benchmarks/bench_parts.py [--sets tile_training tile_test disc ...]

Magnetic tiles have a list of tiles (`parts.csv`: 121 in the training part, 52 in the test part);
thresholds were chosen on the training part. In the other real sets every image is a part, so that
each group is a false one. The generated line shows each plate in several frames.

Drawn parts, two shots of each, show whether edge-ad knows where looks tell parts apart: how many
images are `recognised` in a simulated second exposure, beside the pairs of shots that are found.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from drawn_parts import DRAWN  # the script's own folder is on the path
from results import write_result

from edge_ad.geometry import Geometry
from edge_ad.images import write_image
from edge_ad.parts import How, PartAssignment, Recognition, assign_parts
from edge_ad.synthetic_line import SyntheticLine, SyntheticLineSpec
from edge_ad.synthetic_line.scene import PITCH, SPEED

DATA = Path(os.environ.get("EDGE_AD_SHARED", "shared")) / "data"
TILES = {"tile_training": "train", "tile_test": "test"}
EACH = {
    "bottle": "mvtec_bottle",
    "fabric": "aitex_fabric_01",
    "macaroni": "visa_macaroni1",
    "metal_plate": "mpdd_metal_plate",
}
LINES = {"line": 5, "line_seed_7": 7}
ROI = (69, 54, 182, 132)  # the region of the shipped detector
NEAR_PX = 30.0  # from a plate's centre to the region's, so that one plate fills it
FRAMES = 800
DRAWN_PARTS = 20


def tiles(split: str) -> dict[Path, str]:
    """Return the listed tile of each image."""
    root = DATA / "magnetic_tile"
    with (root / "parts.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    return {root / split / row["label"] / row["image"]: row["tile"] for row in rows}


def line(seed: int, folder: Path) -> dict[Path, str]:
    """Write the frames in which a plate is near the middle of the region; return the plates."""
    made = SyntheticLine(SyntheticLineSpec(seed=seed, defects=0.0))
    plates = {}
    for index, plate in near_frames(made):
        path = folder / f"{index:06d}.png"
        write_image(path, made.frame_at(index).image)
        plates[path] = str(plate)
    return plates


def near_frames(made: SyntheticLine) -> Iterator[tuple[int, int]]:
    """Return frame and plate numbers."""
    middle = ROI[0] + ROI[2] / 2
    for plate in range(int(FRAMES * SPEED / PITCH)):
        first, last = made.frames_of(plate)
        centre = (first + last) / 2  # the frame in which the plate is halfway through the view
        half = NEAR_PX / SPEED
        offset = (middle - made.spec.size_wh[0] / 2) / SPEED
        for index in range(round(centre + offset - half), round(centre + offset + half) + 1):
            yield index, plate


def drawn(name: str, folder: Path) -> dict[Path, str]:
    """Write two shots of each drawn part, all first shots before the second; return the parts."""
    draw, camera = DRAWN[name]
    parts = {}
    for number in range(2 * DRAWN_PARTS):
        shot, part = divmod(number, DRAWN_PARTS)
        path = folder / f"{number:03d}.png"
        write_image(path, camera.shoot(draw(part), np.random.default_rng([part, shot])))
        parts[path] = str(part)
    return parts


def agreement(expected: Sequence[str], observed: Sequence[str]) -> dict[str, float | None]:
    """Return precision and recall of pairs of one part, and the adjusted Rand index.

    Hubert and Arabie, "Comparing partitions", 1985. None where it is not defined.
    """
    both = _pairs(zip(expected, observed, strict=True))
    in_expected, in_observed = _pairs(expected), _pairs(observed)
    chance = in_expected * in_observed / _pairs([0] * len(expected))
    most = (in_expected + in_observed) / 2
    return {
        "pair_precision": both / in_observed if in_observed else None,
        "pair_recall": both / in_expected if in_expected else None,
        "adjusted_rand_index": (both - chance) / (most - chance) if most > chance else None,
    }


def _pairs(labels: Any) -> int:
    return sum(count * (count - 1) // 2 for count in Counter(labels).values())


def measure(name: str, expected: dict[Path, str], how: How, geometry: Geometry) -> None:
    """Assign parts, and write the result file."""
    start_s = time.perf_counter()
    assignment = assign_parts(expected, how=how, geometry=geometry)
    seconds = time.perf_counter() - start_s
    if assignment.recognition is not None:
        measure_recognition(name, expected, assignment, assignment.recognition)
    if name in DRAWN:
        return
    paths = list(assignment.parts)
    figures = agreement([expected[path] for path in paths], list(assignment.parts.values()))
    metrics = {
        "images": len(paths),
        "parts_listed": len({expected[path] for path in paths}),
        "parts_found": len(assignment.groups()),
        **figures,
        "false_pairs": _false_pairs(assignment, expected),
        "seconds": round(seconds, 1),
    }
    write_result(
        "parts", f"{name}_{how.value}", "all",
        metrics=metrics,
        settings={"how": how.value, "roi": geometry.roi_xywh, "detail": assignment.detail},
        samples={"mixed": _mixed(assignment, expected)},
    )  # fmt: skip
    print(name, how.value, metrics)


def measure_recognition(
    name: str, expected: dict[Path, str], assignment: PartAssignment, recognition: Recognition
) -> None:
    """Write whether looks were found to tell parts apart, and what the images say to it."""
    parts = assignment.parts
    found = agreement([expected[path] for path in parts], list(parts.values()))
    metrics = {
        "parts": len({expected[path] for path in parts}),
        "parts_found": len(assignment.groups()),
        "pair_recall": found["pair_recall"],
        "tried": recognition.tried,
        "recognised": recognition.recognised,
        "at_any_angle": int(recognition.at_any_angle),
        "upper_bound": int(assignment.is_upper_bound),
    }
    write_result("recognition", name, "all", metrics=metrics)
    print(name, metrics)


def _false_pairs(assignment: PartAssignment, expected: dict[Path, str]) -> int:
    parts = assignment.parts
    joint = _pairs((part, expected[path]) for path, part in parts.items())
    return _pairs(parts.values()) - joint


def _mixed(assignment: PartAssignment, expected: dict[Path, str]) -> dict[str, dict[str, int]]:
    """Return groups with images of several listed parts: images by listed part."""
    counts = {part: Counter(expected[path] for path in paths)
              for part, paths in assignment.groups().items()}  # fmt: skip
    return {part: dict(listed) for part, listed in counts.items() if len(listed) > 1}


def main() -> None:
    """Measure the sets that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = [*TILES, *EACH, *LINES, *DRAWN]
    parser.add_argument("--sets", nargs="+", choices=known, default=known)
    for name in parser.parse_args().sets:
        if name in TILES:
            for how in (How.IMAGES, How.NAMES):
                measure(name, tiles(TILES[name]), how, Geometry())
        elif name in EACH:
            images = sorted((DATA / EACH[name] / "train" / "good").iterdir())
            measure(name, {path: path.stem for path in images}, How.IMAGES, Geometry())
        else:
            with tempfile.TemporaryDirectory() as folder:
                if name in DRAWN:
                    measure(name, drawn(name, Path(folder)), How.IMAGES, Geometry())
                else:
                    plates = line(LINES[name], Path(folder))
                    measure(name, plates, How.IMAGES, Geometry(roi_xywh=ROI))


if __name__ == "__main__":
    main()
