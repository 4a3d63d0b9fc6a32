"""Measure the effect of a camera's noise, to compare the effect of a precision with.

    python benchmarks/bench_noise.py --data DIR --name line ENGINE...

Every image is inspected twice, the second time with each pixel changed by -1, 0 or 1 grey level
(of 255). Differences are relative as when two precisions are compared: maps to the largest value on
anomalous images, scores to the largest of normal ones.
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
    """Return the images with each value changed by -1, 0 or 1 with equal probability."""
    noise = np.random.default_rng(seed).integers(-1, 2, images.shape, dtype=np.int16)
    return (images + noise).clip(0, 255).astype(np.uint8)


def differences(path: Path, options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the method's name and the relative differences of its maps and scores."""
    with open_engine(path) as engine:
        frames = comparison_frames(engine.manifest, options.data, options.frames)
        plain = predict(engine, frames.images)
        with_noise = predict(engine, noisy(frames.images, options.seed))
        difference, name = compare(plain, with_noise, frames.originals), engine.manifest.method
    shares = {
        "map": difference.max_abs_map / difference.map_scale,
        "score": difference.max_abs_score / difference.score_scale,
    }
    return name, shares | difference.as_json()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = dict(differences(path, options) for path in options.engines)
    head = {
        f"{what}_{end}": pick(row[what] for row in figures.values())
        for what in ("map", "score")
        for end, pick in (("least", min), ("most", max))
    }
    settings = {"frames": options.frames, "seed": options.seed}
    print(head)
    print(write_result("noise", options.name, "fp32", metrics=head | figures, settings=settings))


if __name__ == "__main__":
    main()
