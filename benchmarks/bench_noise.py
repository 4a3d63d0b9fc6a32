"""Measures what a camera's noise moves: the yardstick of what a precision may move.

    python benchmarks/bench_noise.py --data DIR --name line ENGINE...

Every image is judged twice, the second time with each pixel off by -1, 0 or 1 grey level (of
255). Differences count as when two precisions are compared: maps against the largest value seen
with damage in the image, scores against the largest of good parts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from results import write_result  # the script's own folder is on the path

from edge_ad.engine import open_engine
from edge_ad.export.comparison_frames import comparison_frames
from edge_ad.export.parity import compare
from edge_ad.export.verification import predict
from edge_ad.frame import Image


def noisy(images: Image, seed: int) -> Image:
    """The images, each value off by -1, 0 or 1 with equal chance."""
    off = np.random.default_rng(seed).integers(-1, 2, images.shape, dtype=np.int16)
    return (images + off).clip(0, 255).astype(np.uint8)


def moved(path: Path, options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The method's name, and how far its maps and scores move: shares of the largest."""
    with open_engine(path) as engine:
        frames = comparison_frames(engine.manifest, options.data, options.frames)
        clean = predict(engine, frames.images)
        shifted = predict(engine, noisy(frames.images, options.seed))
        found, name = compare(clean, shifted, frames.originals), engine.manifest.method
    shares = {
        "map": found.max_abs_map / found.map_scale,
        "score": found.max_abs_score / found.score_scale,
    }
    return name, shares | found.as_json()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = dict(moved(path, options) for path in options.engines)
    head = {
        f"{what}_{end}": pick(one[what] for one in figures.values())
        for what in ("map", "score")
        for end, pick in (("least", min), ("most", max))
    }
    settings = {"frames": options.frames, "seed": options.seed}
    print(head)
    print(write_result("noise", options.name, "fp32", metrics=head | figures, settings=settings))


if __name__ == "__main__":
    main()
